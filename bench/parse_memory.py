"""Prints how much memory reading very large documents takes: the peak of the parsing processes, and of this one.

    python -m bench.parse_memory [--pages 5000] [--characters 50000000] [--only pdf|xlsx|csv] [--keep FOLDER]

The documents are made here: a digital PDF, a workbook with its text in shared strings, as Excel writes it, and a CSV
file. Each goes through the real child pool with the default limits and chunks counted in words. Exit status 1 when a
peak is above 1 GB, or a document is not read.
"""

from __future__ import annotations

import argparse
import logging
import random
import resource
import sys
import tempfile
import time
import zipfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from services.content import Limits, Page, Upload
from services.errors import DocatlasError
from services.formats.registry import Format
from services.options import Options
from services.sandbox.extract import ExtractRequest, extract
from services.sandbox.pool import ChildPool

MAX_BYTES = 1_000_000_000
_WORDS = [
    "harbour",
    "lease",
    "tenant",
    "vessel",
    "survey",
    "quay",
    "tonnage",
    "invoice",
    "berth",
    "pilot",
    "tide",
    "ledger",
    "cargo",
    "winter",
    "council",
    "bridge",
    "signal",
    "report",
    "annual",
    "storage",
    "insurance",
    "contract",
    "repair",
    "customs",
    "gauge",
]
_COLUMNS = 8
_CELL_WORDS = 4


class _Peaks(logging.Handler):
    """Reads the peak out of the supervisor's log."""

    last = 0

    def emit(self, record: logging.LogRecord) -> None:
        if "bytes of memory" in record.msg and record.args:
            (self.last,) = record.args  # type: ignore[assignment]


def write_pdf(path: Path, pages: int, _: int) -> None:
    from reportlab.lib.pagesizes import A4
    from reportlab.pdfgen.canvas import Canvas

    rng = random.Random(1)
    canvas = Canvas(str(path), pagesize=A4, pageCompression=1)
    for number in range(1, pages + 1):
        canvas.setFont("Helvetica-Bold", 14)
        canvas.drawString(72, 790, f"Section {number}")
        canvas.setFont("Helvetica", 10)
        for line in range(48):
            canvas.drawString(72, 760 - 14 * line, " ".join(rng.choices(_WORDS, k=12)))
        canvas.showPage()
    canvas.save()


def _cells(characters: int) -> Iterator[str]:
    rng = random.Random(2)
    written = 0
    while written < characters:
        cell = f"{' '.join(rng.choices(_WORDS, k=_CELL_WORDS))} {rng.randrange(10**6)}"
        written += len(cell)
        yield cell


def write_csv(path: Path, _: int, characters: int) -> None:
    with path.open("w", encoding="utf-8") as file:
        file.write(",".join(f"column {number}" for number in range(_COLUMNS)) + "\n")
        for number, cell in enumerate(_cells(characters), 1):
            file.write(cell + ("\n" if number % _COLUMNS == 0 else ","))


_SPREADSHEET = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
_OFFICE = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
_TYPE = "application/vnd.openxmlformats-officedocument.spreadsheetml"
_PARTS = {
    "[Content_Types].xml": (
        '<Types xmlns="http://schemas.openxmlformats.org/package/2006/content-types">'
        '<Default Extension="rels" ContentType="application/vnd.openxmlformats-package.relationships+xml"/>'
        f'<Override PartName="/xl/workbook.xml" ContentType="{_TYPE}.sheet.main+xml"/>'
        f'<Override PartName="/xl/worksheets/sheet1.xml" ContentType="{_TYPE}.worksheet+xml"/>'
        f'<Override PartName="/xl/sharedStrings.xml" ContentType="{_TYPE}.sharedStrings+xml"/></Types>'
    ),
    "_rels/.rels": (
        '<Relationships xmlns="http://schemas.openxmlformats.org/package/2006/relationships">'
        f'<Relationship Id="r1" Type="{_OFFICE}/officeDocument" Target="xl/workbook.xml"/></Relationships>'
    ),
    "xl/workbook.xml": (
        f'<workbook xmlns="{_SPREADSHEET}" xmlns:r="{_OFFICE}">'
        '<sheets><sheet name="Big" sheetId="1" r:id="r1"/></sheets></workbook>'
    ),
    "xl/_rels/workbook.xml.rels": (
        '<Relationships xmlns="http://schemas.openxmlformats.org/package/2006/relationships">'
        f'<Relationship Id="r1" Type="{_OFFICE}/worksheet" Target="worksheets/sheet1.xml"/>'
        f'<Relationship Id="r2" Type="{_OFFICE}/sharedStrings" Target="sharedStrings.xml"/></Relationships>'
    ),
}


def write_xlsx(path: Path, _: int, characters: int) -> None:
    count = 0
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in _PARTS.items():
            archive.writestr(name, f'<?xml version="1.0" encoding="UTF-8" standalone="yes"?>\n{content}')
        with archive.open("xl/sharedStrings.xml", "w") as part:
            part.write(f'<sst xmlns="{_SPREADSHEET}">'.encode())
            for cell in _cells(characters):
                part.write(f"<si><t>{cell}</t></si>".encode())
                count += 1
            part.write(b"</sst>")
        with archive.open("xl/worksheets/sheet1.xml", "w") as part:
            part.write(f'<worksheet xmlns="{_SPREADSHEET}"><sheetData>'.encode())
            for row, first in enumerate(range(0, count, _COLUMNS), 1):
                cells = (
                    f'<c r="{chr(65 + at)}{row}" t="s"><v>{first + at}</v></c>'
                    for at in range(min(_COLUMNS, count - first))
                )
                part.write(f'<row r="{row}">{"".join(cells)}</row>'.encode())
            part.write(b"</sheetData></worksheet>")


_WRITERS: Mapping[Format, Callable[[Path, int, int], None]] = {
    Format.PDF: write_pdf,
    Format.XLSX: write_xlsx,
    Format.CSV: write_csv,
}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pages", type=int, default=5000)
    parser.add_argument("--characters", type=int, default=50_000_000)
    parser.add_argument("--only", choices=[format.value for format in _WRITERS])
    parser.add_argument("--keep", type=Path, help="write the documents there, or take those of an earlier run")
    arguments = parser.parse_args()
    log, peaks = logging.getLogger("services.sandbox.supervisor"), _Peaks()
    log.setLevel(logging.DEBUG)
    log.addHandler(peaks)
    log.propagate = False
    failed = False
    with tempfile.TemporaryDirectory(prefix="memory-") as name:
        folder = arguments.keep or Path(name)
        pool = ChildPool()
        pool.warm_up(wait_s=60.0)
        for format, write in _WRITERS.items():
            if arguments.only in (None, format.value):
                path = folder / f"big.{format.value}"
                if not path.exists():
                    write(path, arguments.pages, arguments.characters)
                failed |= not _measure(path, format, Path(name), pool, peaks)
        pool.close()
    return 1 if failed else 0


def _measure(path: Path, format: Format, scratch: Path, pool: ChildPool, peaks: _Peaks) -> bool:
    """Whether the document was read within the memory that it may take; prints what it took."""
    upload = Upload(path, path.name, "", "0" * 64, path.stat().st_size)
    request = ExtractRequest(upload, format, Options(ocr="off"), Limits())
    pages, characters, start, outcome = 0, 0, time.monotonic(), "read"
    try:
        for piece in extract(request, scratch=scratch, pool=pool):
            if isinstance(piece, Page):
                pages, characters = pages + 1, characters + len(piece.text)
    except DocatlasError as error:
        outcome = error.code
    own = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    print(
        f"{format.value}: {outcome}; {upload.size_bytes / 1e6:.0f} MB, {pages} pages, {characters / 1e6:.1f} million "
        f"characters in {time.monotonic() - start:.0f} s; peak of the child {peaks.last / 1e6:.0f} MB, "
        f"of this process so far {own / 1e6:.0f} MB",
        flush=True,
    )
    return outcome == "read" and peaks.last <= MAX_BYTES


if __name__ == "__main__":
    sys.exit(main())
