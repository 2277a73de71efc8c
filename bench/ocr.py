"""How well and at what cost each OCR engine reads: word F1, character error rate, CPU seconds a page.

`python -m bench.ocr CORPUS [--sets sroie,funsd] [--every 4] [--engines tesseract,rapidocr,auto]` reads every fourth
page of each set that CORPUS/manifest.json lists under the task `ocr` (`{task, set, path, gt}`). `--half 0|1` takes the
even or the odd ones only: thresholds are chosen on one half and reported on the other. `--rotation` turns and skews
upright pages instead, `--drivers` compares Tesseract as a library with a process for each run, and `--parallel` reads
in several processes, as a document is read.
"""

from __future__ import annotations

import argparse
import json
import random
import re
import resource
import statistics
import time
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from services.errors import DocatlasError
from services.ocr.base import OcrEngine
from services.ocr.engines import EngineName, find_engines, open_engine, open_reader
from services.ocr.tesseract.drivers import AUTOMATIC, LibraryDriver, ProcessDriver
from services.ocr.tesseract.install import find_tesseract

if TYPE_CHECKING:
    from PIL.Image import Image

TURNS = (90, 180, 270)
SKEWS = (-5.0, -3.0, -1.0, 1.0, 3.0, 5.0)
DPI, TIMEOUT_S = 72.0, 300.0
LONGEST_FOR_ERRORS = 6000
"""Characters up to which the character error rate is worked out: it takes their square in time."""

Row = dict[str, Any]


def cpu_s() -> float:
    """CPU seconds of this process and of those that it waited for."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in used)


def words(text: str) -> list[str]:
    return [word.casefold() for word in re.findall(r"\w+", unicodedata.normalize("NFKC", text))]


def word_f1(truth: str, got: str) -> float:
    """0 to 1: the harmonic mean of the recall and the precision of words, in any order, in either case."""
    a, b = Counter(words(truth)), Counter(words(got))
    common = (a & b).total()
    return 2 * common / max(1, a.total() + b.total())


def character_error_rate(truth: str, got: str) -> float | None:
    """Edits by characters of the truth, at most 1; None for a long page. Reading order counts."""
    a, b = " ".join(words(truth)), " ".join(words(got))
    if max(len(a), len(b)) > LONGEST_FOR_ERRORS:
        return None
    previous = list(range(len(b) + 1))
    for i, x in enumerate(a, 1):
        row = [i]
        for j, y in enumerate(b, 1):
            row.append(min(previous[j] + 1, row[-1] + 1, previous[j - 1] + (x != y)))
        previous = row
    return min(1.0, previous[-1] / max(1, len(a)))


def sampled(corpus: Path, sets: Sequence[str], every: int, half: int | None) -> dict[str, list[Row]]:
    """The rows of each set, every `every`-th of its even or odd ones."""
    found: dict[str, list[Row]] = defaultdict(list)
    for row in json.loads((corpus / "manifest.json").read_text(encoding="utf-8")):
        if row.get("task") == "ocr" and (not sets or row.get("set") in sets):
            found[row["set"]].append(row)
    start, step = (0, 1) if half is None else (half, 2)
    return {name: rows[start::step][::every] for name, rows in found.items()}


def load(path: Path) -> Image:
    from PIL import Image, ImageOps

    with Image.open(path) as image:
        return ImageOps.exif_transpose(image).convert("L")


def truth_of(corpus: Path, row: Row) -> str:
    path: str = row["gt"]
    return (corpus / path).read_text(encoding="utf-8", errors="replace")


def read(engine: OcrEngine, image: Image) -> tuple[str, str]:
    """(text, engine that read it); empty for a page that cannot be read."""
    try:
        result = engine.read(image, languages=("eng",), dpi=DPI, timeout_s=TIMEOUT_S)
    except DocatlasError as error:
        print(f"  {error.code}: {error.detail}")
        return "", ""
    return result.text, result.engine


def compare_engines(corpus: Path, samples: dict[str, list[Row]], names: Sequence[EngineName], verbose: bool) -> None:
    """Prints a row for each set and engine; engines read in this process, one page at a time."""
    print(f"{'set':8} {'engine':10} {'pages':>5} {'word F1':>8} {'CER':>6} {'CPU s/page':>10} {'s/page':>7}  read by")
    for name, rows in samples.items():
        for choice in names:
            engine = open_reader(find_engines(choice))
            f1, errors, costs, walls, by = [], [], [], [], Counter[str]()
            for row in rows:
                image, truth = load(corpus / row["path"]), truth_of(corpus, row)
                cpu, clock = cpu_s(), time.perf_counter()
                text, reader = read(engine, image)
                costs.append(cpu_s() - cpu)
                walls.append(time.perf_counter() - clock)
                f1.append(word_f1(truth, text))
                by[reader] += 1
                if (rate := character_error_rate(truth, text)) is not None:
                    errors.append(rate)
                if verbose:
                    print(f"  {row['path']:50} {reader:10} {f1[-1]:.3f} {costs[-1]:.2f} s")
            cer = f"{statistics.mean(errors):.3f}" if errors else "-"
            print(
                f"{name:8} {choice:10} {len(f1):5} {statistics.mean(f1):8.4f} {cer:>6} {statistics.mean(costs):10.2f} "
                f"{statistics.mean(walls):7.2f}  {dict(by)}",
                flush=True,
            )


def compare_turned(corpus: Path, samples: dict[str, list[Row]], count: int, seed: int) -> None:
    """Prints the word F1 of `count` upright pages as they are, turned and skewed, and the share that is kept."""
    from PIL import Image

    rows = [row for found in samples.values() for row in found if "rot" not in row["path"]]
    rows = random.Random(seed).sample(rows, min(count, len(rows)))
    engine = open_reader(find_engines("auto"))
    changes: list[tuple[str, Callable[[Image.Image], Image.Image]]] = [("upright", lambda image: image)]
    for turn in TURNS:
        changes.append((f"turned {turn}", lambda image, turn=turn: image.rotate(-turn, expand=True)))  # type: ignore[misc]
    for skew in SKEWS:
        changes.append(
            (
                f"skewed {skew:+.0f}",
                lambda image, skew=skew: image.rotate(  # type: ignore[misc]
                    -skew, expand=True, fillcolor=255, resample=Image.Resampling.BICUBIC
                ),
            )
        )
    scores: dict[str, list[float]] = defaultdict(list)
    for number, row in enumerate(rows, 1):
        image, truth = load(corpus / row["path"]), truth_of(corpus, row)
        for name, change in changes:
            scores[name].append(word_f1(truth, read(engine, change(image))[0]))
        worst = min(scores, key=lambda name: scores[name][-1])
        print(f"  {number}/{len(rows)} {row['path']} upright {scores['upright'][-1]:.3f}, "
              f"least {scores[worst][-1]:.3f} {worst}", flush=True)  # fmt: skip
    upright = statistics.mean(scores["upright"])
    for name, found in scores.items():
        print(f"{name:12} word F1 {statistics.mean(found):.4f}  kept {statistics.mean(found) / upright:.1%}")


def compare_drivers(corpus: Path, samples: dict[str, list[Row]]) -> None:
    """Prints what one run of Tesseract costs as a library and as a process, on the same pages."""
    install = find_tesseract()
    if install is None or install.library_data is None:
        print("no Tesseract whose data the library can read")
        return
    library, process = LibraryDriver(str(install.library_data)), ProcessDriver(install)

    def once(image: Image, driver: LibraryDriver | ProcessDriver) -> Iterator[str]:
        found = driver.words(image, ("eng",), psm=AUTOMATIC, local_threshold=False, timeout_s=TIMEOUT_S)
        yield from (word.text for word in found)

    rows = [row for found in samples.values() for row in found]
    for name, driver in (("library", library), ("process", process), ("library", library)):
        cpu, clock, f1 = cpu_s(), time.perf_counter(), []
        for row in rows:
            f1.append(word_f1(truth_of(corpus, row), " ".join(once(load(corpus / row["path"]), driver))))
        spent, took = cpu_s() - cpu, time.perf_counter() - clock
        print(f"{name:8} {len(rows)} pages, word F1 {statistics.mean(f1):.4f} (not prepared), "
              f"{spent / len(rows):.3f} CPU s/page, {60 * len(rows) / took:.0f} pages/min")  # fmt: skip


def compare_parallel(corpus: Path, samples: dict[str, list[Row]], processes: int) -> None:
    """Prints how many pages a minute `auto` reads in `processes` processes at a time, with what starting them costs."""
    from services.content import Limits
    from services.ocr.window import OcrWindow

    rows = [row for found in samples.values() for row in found]
    cpu, clock = cpu_s(), time.perf_counter()
    with OcrWindow(open_engine(find_engines("auto")), ("eng",), Limits(ocr_processes=processes)) as window:
        futures = [window.submit(load(corpus / row["path"]), DPI) for row in rows]
        f1 = [word_f1(truth_of(corpus, row), f.result()[0].text) for row, f in zip(rows, futures, strict=True)]
    took = time.perf_counter() - clock
    print(f"auto in {processes} processes: {len(rows)} pages, word F1 {statistics.mean(f1):.4f}, "
          f"{(cpu_s() - cpu) / len(rows):.2f} CPU s/page, {60 * len(rows) / took:.0f} pages/min")  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("corpus", type=Path)
    parser.add_argument("--sets", default="")
    parser.add_argument("--every", type=int, default=1)
    parser.add_argument("--half", type=int, choices=(0, 1))
    parser.add_argument("--engines", default="tesseract,rapidocr,auto")
    parser.add_argument("--rotation", type=int, metavar="PAGES", help="turn and skew so many pages")
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--drivers", action="store_true")
    parser.add_argument("--parallel", type=int, metavar="PROCESSES")
    parser.add_argument("--verbose", action="store_true")
    given = parser.parse_args()
    samples = sampled(given.corpus, [name for name in given.sets.split(",") if name], given.every, given.half)
    if given.rotation:
        compare_turned(given.corpus, samples, given.rotation, given.seed)
    elif given.drivers:
        compare_drivers(given.corpus, samples)
    elif given.parallel:
        compare_parallel(given.corpus, samples, given.parallel)
    else:
        compare_engines(given.corpus, samples, given.engines.split(","), given.verbose)


if __name__ == "__main__":
    main()
