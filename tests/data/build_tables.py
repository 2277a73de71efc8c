"""Builds `tables.pdf` beside this file: `python -m tests.data.build_tables`. The words are the project's own.

One page for each way in which tables are set: ruled with merged cells, three rules, no rules and leaders, open sides,
over page breaks with and without a repeated heading, sideways. The tests draw further pages with the functions here.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent

WIDTH, HEIGHT = 595.0, 842.0
_TEXT = (
    "the harbour office keeps a list of every vessel that enters the basin and of the berth that it was given so that "
    "the pilots can tell at any hour which quay is free and how deep the water stands there after a spring tide has run"
)
_WORDS = _TEXT.split()

BERTHS = (
    ("North quay", "40", "2.5", "18,400"),
    ("South quay", "12", "4.0", "9,120"),
    ("Fish dock", "8", "3.2", "4,075"),
    ("Inner basin", "26", "1.8", "11,930"),
    ("Roadstead", "5", "9.5", "2,210"),
)


def pdf_bytes(*pages: Callable[[Any], object]) -> bytes:
    """A PDF with one page for each function, which draws on the canvas that it is given."""
    from reportlab.pdfgen.canvas import Canvas

    buffer = BytesIO()
    canvas = Canvas(buffer, pagesize=(WIDTH, HEIGHT), invariant=1)
    for draw in pages:
        draw(canvas)
        canvas.showPage()
    canvas.save()
    return buffer.getvalue()


def write(
    canvas: Any, x: float, y: float, text: str, *, align: str = "l", size: float = 9, font: str = "Helvetica"
) -> None:
    """Writes `text` at a baseline: from `x` on, to the left of it (`r`) or around it (`c`)."""
    canvas.setFont(font, size)
    {"l": canvas.drawString, "r": canvas.drawRightString, "c": canvas.drawCentredString}[align](x, y, text)


def rows(
    canvas: Any, y: float, cells: Sequence[Sequence[str]], xs: Sequence[float], aligns: str, step: float = 13
) -> float:
    """Writes `cells` row by row and returns the height of the next row."""
    for row in cells:
        for x, align, text in zip(xs, aligns, row, strict=True):
            write(canvas, x, y, text, align=align)
        y -= step
    return y


def prose(canvas: Any, y: float, lines: int, *, x: float = 72, width: float = 450, start: int = 0) -> float:
    """Writes justified lines and returns the height of the next."""
    from reportlab.pdfbase.pdfmetrics import stringWidth

    at = start
    for _ in range(lines):
        line: list[str] = []
        while stringWidth(" ".join([*line, _WORDS[at % len(_WORDS)]]), "Times-Roman", 10) < width:
            line.append(_WORDS[at % len(_WORDS)])
            at += 1
        spare = width - stringWidth(" ".join(line), "Times-Roman", 10)
        text = canvas.beginText(x, y)
        text.setFont("Times-Roman", 10)
        text.setWordSpace(spare / max(1, len(line) - 1))
        text.textOut(" ".join(line))
        text.setWordSpace(0)
        canvas.drawText(text)
        y -= 12
    return y


def grid(canvas: Any, xs: Sequence[float], ys: Sequence[float], *, sides: bool = True) -> None:
    """Draws level lines at `ys` and upright ones at `xs`, without the outer upright ones unless `sides`."""
    for y in ys:
        canvas.line(xs[0], y, xs[-1], y)
    for x in xs if sides else xs[1:-1]:
        canvas.line(x, ys[0], x, ys[-1])


def ruled_page(canvas: Any) -> None:
    """A grid whose heading spans two columns, with a cell of two lines and a broken word."""
    y = prose(canvas, 770, 5)
    write(canvas, 72, y - 12, "Table 1. Berths and their fees")
    xs, top = (72, 200, 290, 380, 500), y - 20
    canvas.line(72, top, 500, top)
    canvas.line(200, top - 16, 380, top - 16)
    for line in (top - 32, top - 62, top - 80, top - 98):
        canvas.line(72, line, 500, line)
    for x in (72, 200, 380, 500):
        canvas.line(x, top, x, top - 98)
    canvas.line(290, top - 16, 290, top - 98)
    write(canvas, 76, top - 12, "Quay")
    write(canvas, 290, top - 12, "Berths", align="c")
    write(canvas, 384, top - 12, "Fee in euros")
    write(canvas, 204, top - 28, "Summer")
    write(canvas, 294, top - 28, "Winter")
    write(canvas, 76, top - 44, "North quay with the commu-")
    write(canvas, 76, top - 56, "nal slipway")
    for y, cells in (
        (top - 44, ("40", "22", "18,400")),
        (top - 74, ("12", "12", "9,120")),
        (top - 92, ("8", "–", "75")),
    ):
        for x, text in zip(xs[1:], cells, strict=False):
            write(canvas, x + 4, y, text)
    write(canvas, 76, top - 74, "South quay")
    write(canvas, 76, top - 92, "Fish dock")
    prose(canvas, top - 130, 5, start=7)


def booktabs_page(canvas: Any) -> None:
    """Three rules, a heading over two columns each, a caption above and a note below."""
    y = prose(canvas, 770, 4, start=13)
    write(canvas, 72, y - 14, "Table 2: Depths measured at the quays")
    y -= 34
    canvas.line(72, y + 12, 520, y + 12)
    write(canvas, 265, y, "Spring tide", align="c")
    write(canvas, 435, y, "Neap tide", align="c")
    canvas.line(200, y - 4, 330, y - 4)
    canvas.line(370, y - 4, 500, y - 4)
    xs, aligns = (72, 230, 310, 400, 480), "lcccc"
    y = rows(canvas, y - 14, [("Quay", "Mean", "Std. dev.", "Mean", "Std. dev.")], xs, aligns)
    canvas.line(72, y + 9, 520, y + 9)
    body = [(name, depth, "0.31", depth, "0.12") for name, _, depth, _ in BERTHS]
    y = rows(canvas, y - 4, body, xs, aligns)
    canvas.line(72, y + 9, 520, y + 9)
    write(canvas, 72, y - 3, "Notes: Depths are in metres below the chart datum of the port.", size=8)
    prose(canvas, y - 40, 5, start=11)


def unruled_page(canvas: Any) -> None:
    """No rules: dots lead to the numbers, a label stands over a group, one has two lines, signs stand apart."""
    from reportlab.pdfbase.pdfmetrics import stringWidth

    y = prose(canvas, 770, 4, start=23)
    write(canvas, 72, y - 14, "Table 3. Receipts of the port, in thousands")
    y -= 40
    write(canvas, 340, y + 11, "Fees", align="r")
    write(canvas, 430, y + 11, "Fees per", align="r")
    y = rows(canvas, y, [("Source", "collected", "berth", "Share")], (72, 340, 430, 510), "lrrr") - 4
    for label, values in (
        ("Vessels", ()),
        ("Mooring", ("$ 1,204", "12.4", "48.1%")),
        ("Pilotage and", ()),
        ("towage in the roads", ("880", "9.0", "35.2%")),
        ("Yard", ()),
        ("Storage", ("310", "3.1", "12.4%")),
        ("Slipway", ("108", "(1.1)", "4.3%")),
    ):
        dots = (
            "." * int((210 - stringWidth(label, "Helvetica", 9)) / stringWidth(".", "Helvetica", 9)) if values else ""
        )
        write(canvas, 72 if label in ("Vessels", "Yard") else 80, y, label + dots)
        for x, text in zip((340, 430, 510), values, strict=False):
            write(canvas, x, y, text, align="r")
        y -= 13
    prose(canvas, y - 30, 5, start=3)


def open_page(canvas: Any) -> None:
    """Lines between all rows and columns, none at the left and right."""
    y = prose(canvas, 770, 3, start=31) - 30
    cells = [("Quay", "Berths", "Depth", "Fees"), *BERTHS]
    grid(canvas, (72, 220, 320, 420, 520), [y + 12 - 16 * k for k in range(7)], sides=False)
    rows(canvas, y, cells, (76, 270, 370, 470), "lccc", step=16)
    prose(canvas, y - 130, 4, start=5)


_VESSELS = (
    "Aurora",
    "Brigid",
    "Condor",
    "Delphin",
    "Eider",
    "Fulmar",
    "Gannet",
    "Hjelm",
    "Isbjorn",
    "Kittiwake",
    "Merlin",
)


def _log(first: int, count: int) -> list[tuple[str, str, str, str]]:
    return [
        (f"{_VESSELS[k % 11]} {k:02}", f"{7 + k % 12}:{k * 7 % 60:02}", f"{3 + k * 13 % 40}.5", f"{k * 211:,}")
        for k in range(first, first + count)
    ]


LOG_HEADING = ("Vessel", "Arrived", "Length", "Cargo")
_LOG_XS, _LOG_ALIGNS = (72, 250, 370, 500), "lrrr"


def log_begins(canvas: Any) -> None:
    """A table that begins under prose and runs to the end of the page."""
    y = prose(canvas, 770, 6, start=37)
    write(canvas, 72, y - 14, "Table 5. Log of the pilots")
    rows(canvas, y - 34, [LOG_HEADING, *_log(1, 42)], _LOG_XS, _LOG_ALIGNS, step=14)


def log_goes_on(canvas: Any) -> None:
    """The rest of the table without a heading, to the end of the page."""
    rows(canvas, 780, _log(43, 50), _LOG_XS, _LOG_ALIGNS, step=14)


def log_ends(canvas: Any) -> None:
    """The end of the table, under its heading once more, and prose."""
    y = rows(canvas, 780, [LOG_HEADING, *_log(93, 5)], _LOG_XS, _LOG_ALIGNS, step=14)
    prose(canvas, y - 30, 5, start=41)


def sideways_page(canvas: Any) -> None:
    """A table that is read with the page turned clockwise."""
    canvas.saveState()
    canvas.rotate(90)
    canvas.translate(0, -WIDTH)
    write(canvas, 100, 500, "Table 6. Berths, set sideways")
    canvas.line(100, 490, 700, 490)
    y = rows(canvas, 476, [("Quay", "Berths", "Depth", "Fees")], (100, 350, 500, 700), "lrrr", step=16)
    canvas.line(100, y + 11, 700, y + 11)
    rows(canvas, y, BERTHS, (100, 350, 500, 700), "lrrr", step=16)
    canvas.restoreState()


def tables_pdf() -> bytes:
    """The sample."""
    return pdf_bytes(
        ruled_page, booktabs_page, unruled_page, open_page, log_begins, log_goes_on, log_ends, sideways_page
    )


if __name__ == "__main__":
    (HERE / "tables.pdf").write_bytes(tables_pdf())
