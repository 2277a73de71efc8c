"""Builds the sample PDFs and pictures of this folder: `python tests/data/build_scans.py`.

Needs reportlab and Pillow. The type is Bitstream Vera, which reportlab carries with its licence. The built files are
committed; running this again makes equal ones but for what the libraries' versions change.
"""

from __future__ import annotations

import io
import random
from pathlib import Path

import reportlab
from PIL import Image, ImageDraw, ImageFont
from reportlab.lib.pagesizes import A4
from reportlab.lib.pdfencrypt import StandardEncryption
from reportlab.lib.utils import ImageReader
from reportlab.pdfbase import pdfmetrics
from reportlab.pdfbase.ttfonts import TTFont
from reportlab.pdfgen.canvas import Canvas

HERE = Path(__file__).parent
FONT = Path(reportlab.__file__).parent / "fonts" / "Vera.ttf"

LETTER = [
    "The tenant shall pay the monthly rent of 1,250 euros",
    "in advance, no later than the third working day of",
    "each month. Heating and water are charged apart.",
    "",
    "Either party may end this agreement in writing with",
    "three months notice. The deposit is returned within",
    "thirty days after the keys have been handed over.",
]

RECEIPT = [
    "CORNER BAKERY",
    "12 Mill Lane",
    "",
    "2 Rye bread        7.80",
    "1 Apple cake       4.50",
    "3 Coffee           8.40",
    "",
    "TOTAL             20.70",
    "CASH              25.00",
    "CHANGE             4.30",
]


def _canvas(name: str, encrypt: StandardEncryption | None = None) -> Canvas:
    canvas = Canvas(str(HERE / name), pagesize=A4, invariant=1, encrypt=encrypt)
    canvas.setTitle(name)
    pdfmetrics.registerFont(TTFont("Vera", str(FONT)))
    return canvas


def _lines(canvas: Canvas, lines: list[str], top: float = 760, size: float = 11, left: float = 72) -> None:
    canvas.setFont("Vera", size)
    for number, line in enumerate(lines):
        canvas.drawString(left, top - number * size * 1.4, line)


def picture_of(lines: list[str], size: tuple[int, int], type_px: int, margin: int) -> Image.Image:
    """Black type on white paper, mode L."""
    image = Image.new("L", size, 255)
    draw = ImageDraw.Draw(image)
    font = ImageFont.truetype(str(FONT), type_px)
    for number, line in enumerate(lines):
        draw.text((margin, margin + number * type_px * 1.5), line, fill=0, font=font)
    return image


def scan(lines: list[str], heading: str) -> Image.Image:
    """A page of A4 at 150 dpi."""
    return picture_of([heading, "", *lines], (1240, 1754), 30, 120)


def photo(side: int = 240) -> Image.Image:
    """A colour gradient with discs: stands for a photograph."""
    image = Image.linear_gradient("L").resize((side, side))
    coloured = Image.merge("RGB", (image, image.rotate(90), image.rotate(180)))
    draw = ImageDraw.Draw(coloured)
    rng = random.Random(5)
    for _ in range(12):
        x, y, r = rng.randrange(side), rng.randrange(side), rng.randrange(8, 30)
        draw.ellipse((x - r, y - r, x + r, y + r), fill=tuple(rng.randrange(256) for _ in range(3)))
    return coloured


def _reader(image: Image.Image) -> ImageReader:
    buffer = io.BytesIO()
    if image.mode == "RGB":
        image.save(buffer, "JPEG", quality=80)
    else:
        image.convert("1").save(buffer, "PNG")
    buffer.seek(0)
    return ImageReader(buffer)


def _full_page(canvas: Canvas, image: Image.Image) -> None:
    canvas.drawImage(_reader(image), 0, 0, *A4)


def digital() -> None:
    canvas = _canvas("report.pdf")
    canvas.setTitle("Harbour report")
    canvas.setAuthor("Office of Works")
    _lines(canvas, ["Harbour report"], size=24)
    paragraph = [
        "The harbour was dredged in spring, and the quay was re-",
        "paired where the winter storms had opened the joints",
        "between the stones. The \ufb01nal survey found no damage.",
    ]
    _lines(canvas, paragraph, top=710)
    _lines(canvas, ["• The crane needs a new cable.", "• The lamps were replaced."], top=640)
    _lines(canvas, ["Harbour Office", "7 Quay Street", "Northport"], top=580)
    rows = [
        ["Month", "Ships", "Cargo (t)"],
        ["April", "41", "12,300"],
        ["May", "38", "11,870"],
        ["June", "52", "15,010"],
    ]
    left, top, wide, high = 72, 500, 120, 22
    for r, row in enumerate(rows):
        for c, cell in enumerate(row):
            canvas.drawString(left + c * wide + 6, top - r * high - 15, cell)
    for r in range(len(rows) + 1):
        canvas.line(left, top - r * high, left + 3 * wide, top - r * high)
    for c in range(4):
        canvas.line(left + c * wide, top, left + c * wide, top - len(rows) * high)
    canvas.drawImage(_reader(photo()), 72, 200, 150, 150)
    canvas.drawImage(_reader(photo()), 300, 200, 150, 150)
    canvas.showPage()
    _lines(canvas, ["Second page", "", *LETTER])
    canvas.showPage()
    canvas.showPage()
    canvas.save()


def scanned() -> None:
    canvas = _canvas("scanned.pdf")
    _full_page(canvas, scan(LETTER, "LEASE AGREEMENT"))
    canvas.showPage()
    _full_page(canvas, scan(LETTER, "SECOND SHEET").rotate(2.5, fillcolor=255))
    canvas.showPage()
    canvas.save()


def mixed() -> None:
    canvas = _canvas("mixed.pdf")
    _lines(canvas, ["Cover letter", "", *LETTER])
    canvas.showPage()
    _full_page(canvas, scan(LETTER, "ANNEX ONE"))
    canvas.showPage()
    _full_page(canvas, scan(LETTER, "ANNEX TWO"))
    _lines(canvas, ["BATES 000123"], top=30, size=9, left=450)
    canvas.showPage()
    canvas.save()


def garbled() -> None:
    """Type that shows one letter and says another: every code is shifted, as in subset fonts without a map."""
    canvas = _canvas("garbled.pdf")
    image = scan(LETTER, "MINUTES")
    _full_page(canvas, image)
    text = canvas.beginText(72, 760)
    text.setFont("Vera", 11)
    text.setTextRenderMode(3)
    for line in LETTER:
        text.textLine("".join(chr(ord(c) - 29) if ord(c) >= 61 else c for c in line))
    canvas.drawText(text)
    canvas.showPage()
    canvas.save()


def rotated() -> None:
    """Pages whose content lies on its side or on its head, and whose /Rotate turns them upright again."""
    canvas = _canvas("rotated.pdf")
    for turn in (90, 180, 270):
        canvas.setPageRotation(turn)
        # reportlab lays a page that is turned by a quarter on its side: 842 points wide and 595 high.
        canvas.saveState()
        canvas.translate(*{90: (A4[1], 0), 180: A4, 270: (0, A4[0])}[turn])
        canvas.rotate({90: 90, 180: 180, 270: -90}[turn])
        _lines(canvas, ["Turned page", "", *LETTER])
        canvas.restoreState()
        canvas.showPage()
        canvas.setPageRotation(0)
    canvas.save()


def encrypted() -> None:
    canvas = _canvas("encrypted.pdf", StandardEncryption("open sesame", ownerPassword="owner", strength=128))
    _lines(canvas, ["Secret page", "", *LETTER])
    canvas.showPage()
    canvas.save()


def pictures() -> None:
    page = scan(LETTER, "LEASE AGREEMENT").crop((0, 0, 1240, 760))
    page.convert("1").save(HERE / "letter.png", dpi=(150, 150))
    exif = Image.Exif()
    exif[0x0112] = 6
    # Stored turned counterclockwise; orientation 6 says: turn it clockwise to show it.
    page.rotate(90, expand=True).save(HERE / "letter_exif.jpg", quality=50, dpi=(150, 150), exif=exif)
    second = scan(LETTER, "SECOND SHEET").crop((0, 0, 1240, 760)).rotate(90, expand=True).convert("1")
    page.convert("1").save(
        HERE / "letters.tif", save_all=True, append_images=[second], compression="group4", dpi=(150, 150)
    )
    receipt = picture_of(RECEIPT, (420, 560), 17, 30)
    receipt.convert("RGB").save(HERE / "receipt.webp", quality=60)


def main() -> None:
    digital()
    scanned()
    mixed()
    garbled()
    rotated()
    encrypted()
    pictures()
    whole = (HERE / "report.pdf").read_bytes()
    (HERE / "truncated.pdf").write_bytes(whole[: len(whole) // 4])


if __name__ == "__main__":
    main()
