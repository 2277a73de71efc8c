"""Recall and precision of table cells per PDF, against annotated cells: `python -m bench.tables CORPUS`.

CORPUS holds `bench/manifest.json`, rows with `"task": "tables"`, `path` and `gt`. A cell is its words, folded; both
sides are multisets over the file. In process, OCR off. The two halves
are every second file: the rules were tuned on the first.
"""

from __future__ import annotations

import argparse
import json
import re
import statistics
import tempfile
import time
import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from services.content import Block, BlockKind, Limits, Page, Upload
from services.formats.base import ExtractContext
from services.formats.detection.detect import detect_format
from services.ocr.base import NoOcr
from services.options import Options


def folded(text: str) -> str:
    """The words of a cell, without punctuation and case."""
    return " ".join(re.findall(r"\w+", unicodedata.normalize("NFKC", text))).casefold()


def cells_of(texts: Iterable[str]) -> Counter[str]:
    """The multiset of cells that hold a word."""
    return Counter(cell for text in texts if (cell := folded(text)))


def true_cells(truth: Any) -> Counter[str]:
    """All `text` values of the annotation."""
    texts: list[str] = []
    waiting = [truth]
    while waiting:
        value = waiting.pop()
        if isinstance(value, dict):
            texts.extend(v for k, v in value.items() if k == "text" and isinstance(v, str))
            waiting.extend(v for k, v in value.items() if k != "text")
        elif isinstance(value, list):
            waiting.extend(value)
    return cells_of(texts)


def read_pages(path: Path) -> list[Page]:
    """The pages of a PDF as the extractor reads them."""
    limits = Limits()
    with tempfile.TemporaryDirectory() as folder:
        detection = detect_format(path, path.name, limits)
        context = ExtractContext(Options(extract_images=False), None, Path(folder), limits, NoOcr(), {})
        upload = Upload(path, path.name, "", "0" * 64, path.stat().st_size)
        parts = detection.format.spec.extract(upload, context)
        return [part for part in parts if isinstance(part, Page)]


def tables_of(pages: Iterable[Page]) -> list[Block]:
    """The tables on `pages`."""
    return [block for page in pages for block in page.blocks if block.kind is BlockKind.TABLE]


def report(corpus: Path, show: Sequence[str], half: str) -> None:
    """Prints a line a file and the means."""
    manifest = json.loads((corpus / "bench" / "manifest.json").read_text(encoding="utf-8"))
    rows = [row for row in manifest if row["task"] == "tables"]
    scores: dict[str, list[tuple[float, float]]] = {"tuned on": [], "kept apart": []}
    for index, row in enumerate(rows):
        name = "kept apart" if index % 2 else "tuned on"
        if half and not name.startswith(half):
            continue
        path = corpus / "bench" / row["path"]
        if show and not any(part in path.name for part in show):
            continue
        start = time.process_time()
        pages = read_pages(path)
        seconds = time.process_time() - start
        truth = true_cells(json.loads((corpus / "bench" / row["gt"]).read_text(encoding="utf-8")))
        found = cells_of(cell for block in tables_of(pages) for line in block.rows for cell in line)
        hit = sum((truth & found).values())
        recall, precision = hit / max(1, sum(truth.values())), hit / max(1, sum(found.values()))
        scores[name].append((recall, precision))
        pace = 1000 * seconds / max(1, len(pages))
        print(f"{path.name:24} recall {recall:.3f} precision {precision:.3f} {pace:6.1f} ms a page  {name}")
        if show:
            print("  missed:", sorted((truth - found).elements()))
            print("  false: ", sorted((found - truth).elements()))
            for page in pages:
                for block in tables_of([page]):
                    print(f"  -- page {page.number} {block.box} {'continues' if block.continues else ''}")
                    for line in block.rows:
                        print("  | " + " | ".join(line))
    everything = [score for part in scores.values() for score in part]
    for name, values in (*scores.items(), ("all", everything)):
        if values:
            recall, precision = (statistics.fmean(v[i] for v in values) for i in (0, 1))
            print(f"== {name}: {len(values)} files, recall {recall:.4f}, precision {precision:.4f}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("corpus", type=Path)
    parser.add_argument("--show", nargs="*", default=[], metavar="NAME", help="print the tables of files so named")
    parser.add_argument("--half", default="", choices=("", "tuned", "kept"))
    arguments = parser.parse_args()
    report(arguments.corpus, arguments.show, arguments.half)
