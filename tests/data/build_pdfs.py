"""Builds the sample PDFs with columns, forms and figures: `python -m tests.data.build_pdfs`.

Needs reportlab and Pillow. The type is that which every reader of PDF has. The built files are committed; running this
again makes equal ones but for what the libraries' versions change.
"""

from __future__ import annotations

import io

from PIL import Image, ImageDraw
from reportlab.lib.pagesizes import A4
from reportlab.lib.utils import ImageReader
from reportlab.pdfbase.pdfmetrics import stringWidth
from reportlab.pdfgen.canvas import Canvas

from tests.data.build_scans import HERE, LETTER, photo, scan

WIDE, HIGH = A4
LEFT, GUTTER, COLUMN = 60, 24, 225

STORY = (
    "The keepers of the light wrote down the weather four times a day, and their books are the longest record of wind "
    "on this coast. For ninety years nobody looked into them. When the tower was sold the books were carried to the "
    "harbour office, where the damp of two winters spoiled the first three volumes. What is left has been copied by "
    "hand and checked against the logs of the pilots. Gales from the north-west are the most frequent in January, and "
    "the quay was overtopped in eleven of the years that could be read. The survey of the stones, repeated each "
    "spring, shows how the joints opened after such winters and how they were closed again in summer. "
)

NOTES = (
    "The years are counted from October, as the keepers did.",
    "Calms were written down only after 1905.",
    "Hours are those of the sun.",
    "The pilots' logs begin in this year.",
    "Two volumes of these years are lost.",
    "After the war the strength was measured.",
)


def _canvas(name: str, title: str) -> Canvas:
    canvas = Canvas(str(HERE / name), pagesize=A4, invariant=1)
    canvas.setTitle(title)
    canvas.setAuthor("Office of Works")
    return canvas


def _broken(text: str, width: float, font: str, size: float) -> list[str]:
    """`text` in lines of at most `width` points; a long word that does not fit is broken with a hyphen."""
    lines, line = [], ""
    for word in text.split():
        longer = f"{line} {word}".strip()
        if stringWidth(longer, font, size) <= width:
            line = longer
            continue
        half = len(word) // 2
        if len(word) > 8 and word.isalpha() and stringWidth(f"{line} {word[:half]}-", font, size) <= width:
            lines.append(f"{line} {word[:half]}-")
            line = word[half:]
        else:
            lines.append(line)
            line = word
    return [*lines, line]


def _column(canvas: Canvas, text: str, left: float, top: float, width: float = COLUMN, size: float = 10) -> float:
    """Draws `text` and returns the height at which the next line goes."""
    canvas.setFont("Times-Roman", size)
    for line in _broken(text, width, "Times-Roman", size):
        canvas.drawString(left, top, line)
        top -= size * 1.25
    return top


def columns() -> None:
    """Six pages: two columns under a title, running heads that differ on even pages, notes, captions, code, lists."""
    canvas = _canvas("columns.pdf", "Winds of the coast")
    right = LEFT + COLUMN + GUTTER
    for number in range(1, 7):
        canvas.setFont("Times-Italic", 9)
        if number > 1:
            if number % 2:
                canvas.drawRightString(WIDE - LEFT, HIGH - 40, "Winds of the coast")
            else:
                canvas.drawString(LEFT, HIGH - 40, "Office of Works")
        canvas.drawCentredString(WIDE / 2, 36, f"Page {number}")
        top = HIGH - 80
        if number == 1:
            canvas.setFont("Times-Bold", 20)
            canvas.drawString(LEFT, top, "Winds of the coast, as the keepers of the light saw them")
            canvas.bookmarkPage("start")
            canvas.addOutlineEntry("Winds of the coast, as the keepers of the light saw them", "start", 0)
            top -= 40
        canvas.setFont("Times-Bold", 12)
        canvas.drawString(LEFT, top, f"{number}. Years {1880 + number * 10} to {1889 + number * 10}")
        canvas.bookmarkPage(f"part{number}")
        canvas.addOutlineEntry(f"Years {1880 + number * 10} to {1889 + number * 10}", f"part{number}", 1)
        low = _column(canvas, STORY + STORY, LEFT, top - 20)
        if number == 1:
            canvas.setFont("Times-Roman", 10)
            canvas.drawString(LEFT, low, "The copies are kept at the harbour office.")
            canvas.linkURL("https://example.org/books", (LEFT, low - 2, LEFT + 40, low + 9))
            canvas.linkURL("javascript:alert(1)", (LEFT + 60, low - 2, LEFT + 100, low + 9))
        if number == 2:
            for line, indent in (("• Gales", 0), ("– from the north", 14), ("– from the west", 14), ("• Calms", 0)):
                canvas.drawString(LEFT + indent, low, line)
                low -= 12.5
        _column(canvas, STORY, right, top - 20)
        if number == 3:
            canvas.setFont("Courier", 9)
            for offset, line in enumerate(
                ("def mean(winds):", "    total = sum(winds)", "    return total / len(winds)")
            ):
                canvas.drawString(right, 420 - offset * 11, line)
        if number == 4:
            canvas.rect(right, 330, COLUMN, 90)
            canvas.setFont("Times-Roman", 9)
            canvas.drawString(right, 315, "Figure 1: Gales in each month of the record.")
        canvas.setFont("Times-Roman", 7.5)
        canvas.drawString(LEFT, 80, f"{number} {NOTES[number - 1]}")
        canvas.showPage()
    canvas.save()


def form() -> None:
    """The fields of a form, some filled in, with a reader's remark."""
    canvas = _canvas("form.pdf", "Application for a berth")
    canvas.setFont("Helvetica-Bold", 16)
    canvas.drawString(LEFT, HIGH - 80, "Application for a berth")
    canvas.setFont("Helvetica", 11)
    fields = (
        ("Name of the vessel:", "vessel", "Grey Heron"),
        ("Length in metres:", "length", "12.5"),
        ("Flag:", "flag", ""),
    )
    top = HIGH - 120
    for label, name, value in fields:
        canvas.drawString(LEFT, top, label)
        canvas.acroForm.textfield(
            name=name, value=value, x=LEFT + 120, y=top - 5, width=180, height=18, fontSize=11, borderStyle="solid"
        )
        top -= 30
    for label, name, checked in (("Needs electricity", "power", True), ("Needs water", "water", False)):
        canvas.acroForm.checkbox(name=name, checked=checked, x=LEFT, y=top - 3, size=14)
        canvas.drawString(LEFT + 22, top, label)
        top -= 26
    canvas.drawString(LEFT, top, "Quay:")
    canvas.acroForm.choice(
        name="quay",
        value="North quay",
        options=["North quay", "South quay"],
        x=LEFT + 120,
        y=top - 5,
        width=120,
        height=18,
    )
    canvas.drawString(LEFT, top - 60, "The harbour master decides within ten days.")
    canvas.textAnnotation("Ask for the papers first.", Rect=(LEFT, top - 62, LEFT + 18, top - 44), addtopage=1)
    canvas.showPage()
    canvas.save()


def _encoded(image: Image.Image, kind: str) -> ImageReader:
    buffer = io.BytesIO()
    image.save(buffer, kind)
    buffer.seek(0)
    return ImageReader(buffer)


def _logo() -> Image.Image:
    image = Image.new("RGB", (90, 90), (20, 60, 140))
    ImageDraw.Draw(image).polygon([(45, 8), (80, 78), (10, 78)], fill=(250, 220, 40))
    return image


def figures() -> None:
    """Five pages, each with the same logo: a chart of curves, a CMYK picture, a masked one, a chart of bars, a scan."""
    canvas = _canvas("figures.pdf", "Figures of the year")
    for number in range(1, 6):
        canvas.drawImage(_encoded(_logo(), "PNG"), WIDE - 150, HIGH - 150, 90, 90)
        canvas.setFont("Helvetica", 11)
        canvas.drawString(LEFT, HIGH - 80, f"Sheet {number} of the yearly figures, with one picture.")
        if number == 1:
            canvas.setLineWidth(1)
            canvas.line(100, 400, 100, 560)
            canvas.line(100, 400, 360, 400)
            for shift, colour in ((0, (0.8, 0, 0)), (25, (0, 0.5, 0))):
                canvas.setStrokeColorRGB(*colour)
                path = canvas.beginPath()
                path.moveTo(100, 410 + shift)
                for step in range(12):
                    x = 100 + step * 20
                    path.curveTo(x + 6, 440 + shift + step * 4, x + 14, 420 + shift, x + 20, 430 + shift + step * 6)
                canvas.drawPath(path)
            canvas.circle(330, 540, 12)
            canvas.setFont("Helvetica", 8)
            canvas.drawString(190, 388, "hours after high water")
            canvas.setFont("Helvetica", 9)
            canvas.drawString(100, 366, "Figure 1: Height of the tide on two days.")
        elif number == 2:
            inks = Image.merge("CMYK", [Image.new("L", (120, 120), ink) for ink in (0, 255, 255, 0)])
            canvas.drawImage(_encoded(inks, "JPEG"), LEFT, 400, 180, 180)
            canvas.drawString(LEFT, 384, "Figure 2: Red, in the inks of a printer.")
        elif number == 3:
            disc = photo(160).convert("RGBA")
            mask = Image.new("L", disc.size, 0)
            ImageDraw.Draw(mask).ellipse((0, 0, 159, 159), fill=255)
            disc.putalpha(mask)
            canvas.drawImage(_encoded(disc, "PNG"), LEFT, 400, 180, 180, mask="auto")
            canvas.drawString(LEFT, 384, "Figure 3: A disc without corners.")
        elif number == 4:
            for bar, length in enumerate((40, 90, 65, 120, 30, 75)):
                canvas.setFillColorRGB(0.2, 0.3, 0.6)
                canvas.rect(110 + bar * 30, 400, 20, length, fill=1, stroke=0)
            canvas.setFillColorRGB(0, 0, 0)
            canvas.drawString(LEFT, 370, "Figure 4: Ships in six months.")
        else:
            part = scan(LETTER, "POSTED NOTICE").crop((60, 80, 1180, 620)).convert("1")
            canvas.drawString(LEFT, HIGH - 110, "The notice below was nailed to the door of the office.")
            canvas.drawImage(_encoded(part, "PNG"), LEFT, 420, 460, 222)
            canvas.drawString(LEFT, 395, "It was taken down in June, when the lease had been signed.")
        canvas.showPage()
    canvas.save()


def main() -> None:
    columns()
    form()
    figures()


if __name__ == "__main__":
    main()
