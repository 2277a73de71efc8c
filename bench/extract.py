"""Prints how fast Docatlas and four comparable tools read the same files, and what it costs them, in one run.

    python -m bench.extract [--digital FILE ...] [--scanned FILE ...] [--others FOLDER] [--runs 3]

`--others` names the folder of an environment with kreuzberg, markitdown, pymupdf4llm and pypdfium2; it is made, and
they are installed into it, where it does not exist. Without files, two are made: 100 digital pages and 8 scanned ones.
Every tool reads every file in a process of its own, the tools in turn, `--runs` times; medians are printed. Docatlas
reads as its server does: in the guarded children, with OCR, pictures, layout and chunks; the others give their Markdown
or text with the settings they come with (kreuzberg with Tesseract; markitdown and raw PDFium read no scans).
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import venv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

from bench.corpus import write_digital_pdf, write_scanned_pdf
from bench.server import ROOT, BenchError, Meter

OTHERS = ("kreuzberg==4.10.*", "markitdown[all]==0.1.*", "pymupdf4llm>=0.3,<1", "pypdfium2>=5,<6")

DOCATLAS = """
import sys, tempfile
from contextlib import closing
from pathlib import Path
from services.content import Page, Upload
from services.sandbox.extract import ExtractRequest, extract
from services.formats.detection.detect import detect_format
from services.runtime import open_runtime
from services.settings import Settings

def read(path):
    with tempfile.TemporaryDirectory() as folder:
        runtime = open_runtime(Settings(data_dir=Path(folder) / "data", text_model="hash"))
        try:
            limits = runtime.settings.limits
            upload = Upload(path, path.name, "", "0" * 64, path.stat().st_size)
            request = ExtractRequest(
                upload, detect_format(path, path.name, limits).format, runtime.settings.default_options, limits,
                ocr=runtime.ocr_choice)
            with closing(extract(request, scratch=Path(folder))) as pieces:
                return sum(len(piece.text) for piece in pieces if isinstance(piece, Page))
        finally:
            runtime.close()
"""

KREUZBERG = """
from kreuzberg import ExtractionConfig, OcrConfig, extract_file_sync
def read(path):
    result = extract_file_sync(path, config=ExtractionConfig(ocr=OcrConfig(backend="tesseract", language="eng")))
    return len(result.content)
"""

MARKITDOWN = """
from markitdown import MarkItDown
def read(path):
    return len(MarkItDown().convert(str(path)).text_content)
"""

PYMUPDF4LLM = """
import pymupdf4llm
def read(path):
    return len(pymupdf4llm.to_markdown(str(path)))
"""

PYPDFIUM2 = """
import pypdfium2
def read(path):
    document = pypdfium2.PdfDocument(path)
    return sum(len(page.get_textpage().get_text_bounded()) for page in document)
"""

DRIVER = """
if __name__ == "__main__":
    import json, sys, time
    from pathlib import Path
    started = time.monotonic()
    chars = read(Path(sys.argv[1]))
    report = {"wall_s": time.monotonic() - started, "chars": chars}
    Path(sys.argv[2]).write_text(json.dumps(report))
"""
"""What each tool's process runs; the seconds are those of reading, without the start of the interpreter."""

TOOLS: Mapping[str, str] = {
    "docatlas": DOCATLAS,
    "kreuzberg": KREUZBERG,
    "markitdown": MARKITDOWN,
    "pymupdf4llm": PYMUPDF4LLM,
    "pypdfium2": PYPDFIUM2,
}


def _environment() -> Mapping[str, Mapping[str, str]]:
    """What a tool needs in its environment: kreuzberg brings Tesseract without language data, and gets ours."""
    from services.ocr.tesseract.install import find_tesseract

    tesseract = find_tesseract()
    data = None if tesseract is None else tesseract.tessdata_dir
    return {
        "docatlas": {"PYTHONPATH": str(ROOT)},
        "kreuzberg": {} if data is None else {"TESSDATA_PREFIX": str(data)},
    }


ENVIRONMENT = _environment()


@dataclass(frozen=True, slots=True)
class Reading:
    """One file, read once. `cpu_s` and `peak_bytes` are those of the process and all its descendants."""

    wall_s: float
    cpu_s: float
    peak_bytes: int
    chars: int


def install_others(folder: Path) -> Path:
    """The Python of the environment in `folder`, made and filled where it is missing."""
    python = folder / ("Scripts" if os.name == "nt" else "bin") / "python"
    if not python.exists():
        venv.create(folder, with_pip=True)
        subprocess.run([str(python), "-m", "pip", "install", "--quiet", *OTHERS], check=True)
    return python


def read_once(tool: str, python: Path, path: Path, folder: Path) -> Reading | str:
    """What reading `path` took; the reason where the tool failed."""
    program, result = folder / f"read_with_{tool}.py", folder / "result.json"
    program.write_text(TOOLS[tool] + DRIVER, encoding="utf-8")
    result.unlink(missing_ok=True)
    with (folder / "log").open("w+b") as log:
        process = subprocess.Popen(
            [str(python), str(program), str(path), str(result)],
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            env={**os.environ, **ENVIRONMENT.get(tool, {})},
        )
        with Meter(process.pid, interval_s=0.05) as meter:
            process.wait()
        if process.returncode or not result.exists():
            log.seek(0)
            lines = log.read().decode("utf-8", "replace").strip().splitlines()
            return lines[-1][:100] if lines else f"exit status {process.returncode}"
    found = json.loads(result.read_text(encoding="utf-8"))
    return Reading(found["wall_s"], meter.cost.cpu_s, meter.cost.peak_bytes, found["chars"])


def pages_of(path: Path) -> int:
    """Pages of a PDF; 1 for any other file."""
    if path.suffix.lower() != ".pdf":
        return 1
    import pypdfium2

    with pypdfium2.PdfDocument(path) as document:
        return len(document)


def compare(kind: str, paths: Sequence[Path], runs: int, others: Path, table: Table, folder: Path) -> None:
    """Adds a row for each tool: totals over `paths`, medians over `runs`."""
    pages = sum(pages_of(path) for path in paths)
    taken: dict[str, list[list[Reading]]] = {tool: [] for tool in TOOLS}
    failures: dict[str, str] = {}
    for run in range(runs):
        for tool in TOOLS:
            python = Path(sys.executable) if tool == "docatlas" else others
            readings = []
            for path in paths:
                reading = read_once(tool, python, path, folder)
                if isinstance(reading, Reading):
                    readings.append(reading)
                else:
                    failures[tool] = f"{path.name}: {reading}"
            if len(readings) == len(paths):
                taken[tool].append(readings)
            print(f"{kind} run {run + 1} of {runs}: {tool}", file=sys.stderr, flush=True)
    for tool, every in taken.items():
        if not every:
            table.add_row(kind, tool, "failed", "", "", "", failures.get(tool, ""))
            continue
        wall = statistics.median(sum(reading.wall_s for reading in run) for run in every)
        cpu = statistics.median(sum(reading.cpu_s for reading in run) for run in every)
        peak = statistics.median(max(reading.peak_bytes for reading in run) for run in every)
        chars = sum(reading.chars for reading in every[-1])
        shown = f"{pages / wall:.1f}" if pages / wall < 100 else f"{pages / wall:.0f}"
        table.add_row(
            kind, tool, shown, f"{cpu / pages:.3f}", f"{peak / 1024**2:.0f}", f"{chars:,}", failures.get(tool, "")
        )
    if not any(taken.values()):
        raise BenchError(f"no tool could read the {kind} files")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--digital", nargs="*", type=Path, default=[])
    parser.add_argument("--scanned", nargs="*", type=Path, default=[])
    parser.add_argument("--others", type=Path, default=Path(tempfile.gettempdir()) / "docatlas-bench-others")
    parser.add_argument("--runs", type=int, default=3)
    args = parser.parse_args()
    others = install_others(args.others)
    table = Table(title=f"Reading, median of {args.runs} runs")
    for column in ("files", "tool", "pages/s", "CPU s/page", "peak MiB", "characters", "failed"):
        table.add_column(column, justify="left" if column in ("files", "tool", "failed") else "right")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        digital, scanned = args.digital, args.scanned
        if not digital and not scanned:
            digital, scanned = [folder / "digital.pdf"], [folder / "scanned.pdf"]
            write_digital_pdf(digital[0], 100, seed=1)
            write_scanned_pdf(scanned[0], 8, seed=1, dpi=200)
        for kind, paths in (("digital", digital), ("scanned", scanned)):
            if paths:
                compare(kind, [path.resolve() for path in paths], args.runs, others, table, folder)
    Console(highlight=False, width=None if sys.stdout.isatty() else 140).print(table)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
