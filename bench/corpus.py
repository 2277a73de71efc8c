"""Documents that the benchmarks make themselves: the same bytes' worth of text for the same seed, on every machine."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from PIL.Image import Image

_TEXT = """
account action advice agreement amount annual answer apply appoint approve area arrange asset attach audit authority
balance bank basis benefit board branch budget building business calculate capital carry cause certain change charge
city claim clause client close committee common company complete condition confirm connect consent consider contract
control cost council country court cover credit current damage date deal debt decide deliver demand deposit describe
design detail develop direct director district divide document duty early effect employ energy engine ensure equal
estate event examine exchange expense expert extend fact factor field figure final finance firm follow forward found
full fund future general give goods govern grant ground growth harbour health hold hour house improve include income
increase industry inform insure interest invest issue item join judge keep labour land large law lease legal letter
level limit list loan local machine maintain manage market material matter measure member method minute model month
mortgage motion nation network notice number object obtain offer office operate opinion order owner paper part partner
party payment pension period permit person place plan point policy position power premium present price private
process produce profit project promise property protect provide public purchase purpose quality quarter question rate
reach reason receive record reduce refer region register relate release remain rent repair repay replace report
represent request require research reserve resource respect result return revenue review right risk river road rule
safety sale sample scheme school section secure sell send service settle share ship sign site society source staff
standard state station steel stock store street study subject submit supply support survey system tax term test title
town trade train transfer travel treat trust union unit value vehicle vessel village volume vote wage water week
weight whole winter work yard year
"""
_WORDS = _TEXT.split()

_JOINTS = ("of the", "and", "for a", "under the", "with", "by the", "in", "that the", "to", "before the", "after each")


def sentence(rng: random.Random) -> str:
    """An English-looking sentence of about 90 characters."""
    parts: list[str] = []
    for _ in range(rng.randint(3, 6)):
        parts += [rng.choice(_WORDS), rng.choice(_WORDS), rng.choice(_JOINTS)]
    parts.append(rng.choice(_WORDS))
    if rng.random() < 0.3:
        parts.append(f"number {rng.randint(100, 99_999)}")
    return " ".join(parts).capitalize() + "."


def paragraph(rng: random.Random, characters: int = 600) -> str:
    """Sentences of about `characters` in all, on one line."""
    text = sentence(rng)
    while len(text) < characters:
        text += " " + sentence(rng)
    return text


def wrapped(rng: random.Random, *, lines: int, width: int) -> list[str]:
    """`lines` lines of text, none longer than `width` characters."""
    words: list[str] = []
    found: list[str] = []
    line = ""
    while len(found) < lines:
        if not words:
            words = sentence(rng).split()
        word = words.pop(0)
        if line and len(line) + 1 + len(word) > width:
            found.append(line)
            line = word
        else:
            line = f"{line} {word}".strip()
    return found


def write_digital_pdf(path: Path, pages: int, seed: int) -> None:
    """Writes a PDF with text of its own: about 2,700 characters on each A4 page."""
    from reportlab.lib.pagesizes import A4
    from reportlab.pdfgen.canvas import Canvas

    rng = random.Random(seed)
    canvas = Canvas(str(path), pagesize=A4, invariant=1)
    for number in range(1, pages + 1):
        canvas.setFont("Helvetica-Bold", 14)
        canvas.drawString(60, 790, f"Section {number}: {rng.choice(_WORDS)} and {rng.choice(_WORDS)}")
        text = canvas.beginText(60, 765)
        text.setFont("Helvetica", 10)
        text.setLeading(15)
        for line in wrapped(rng, lines=34, width=85):
            text.textLine(line)
        canvas.drawText(text)
        canvas.drawCentredString(297, 40, f"{number}")
        canvas.showPage()
    canvas.save()


def scan(rng: random.Random, *, lines: int = 30, dpi: int = 150) -> Image:
    """A grey A4 page of printed text, a little noisy, as a scanner would see it."""
    from PIL import Image, ImageChops, ImageDraw, ImageFont

    width, height = round(8.27 * dpi), round(11.69 * dpi)
    page = Image.new("L", (width, height), 250)
    draw = ImageDraw.Draw(page)
    font = ImageFont.load_default(size=11 * dpi / 72)
    for number, line in enumerate(wrapped(rng, lines=lines, width=72)):
        draw.text((0.8 * dpi, (0.9 + number * 0.25) * dpi), line, fill=15, font=font)
    # `effect_noise` has no seed; a noise of our own keeps the bytes equal from run to run.
    tile = Image.frombytes("L", (256, 256), bytes(min(255, 128 + int(rng.gauss(0, 6))) for _ in range(65_536)))
    noise = Image.new("L", page.size)
    for top in range(0, height, 256):
        for left in range(0, width, 256):
            noise.paste(tile, (left, top))
    return ImageChops.add(page, noise, offset=-128)


def write_scanned_pdf(path: Path, pages: int, seed: int, *, dpi: int = 150) -> None:
    """Writes a PDF whose pages are pictures of text."""
    rng = random.Random(seed)
    scans = [scan(rng, dpi=dpi) for _ in range(pages)]
    scans[0].save(path, "PDF", save_all=True, append_images=scans[1:], resolution=dpi, quality=85)


def write_mixed_pdf(path: Path, pages: int, seed: int) -> None:
    """Writes a PDF in which every second page is a scan."""
    from reportlab.lib.pagesizes import A4
    from reportlab.lib.utils import ImageReader
    from reportlab.pdfgen.canvas import Canvas

    rng = random.Random(seed)
    canvas = Canvas(str(path), pagesize=A4, invariant=1)
    for number in range(1, pages + 1):
        if number % 2:
            text = canvas.beginText(60, 780)
            text.setFont("Helvetica", 10)
            text.setLeading(15)
            for line in wrapped(rng, lines=30, width=85):
                text.textLine(line)
            canvas.drawText(text)
        else:
            buffer = BytesIO()
            scan(rng).save(buffer, "JPEG", quality=85)
            buffer.seek(0)
            canvas.drawImage(ImageReader(buffer), 0, 0, *A4)
        canvas.showPage()
    canvas.save()


def _write_text(path: Path, seed: int) -> None:
    rng = random.Random(seed)
    path.write_text("\n\n".join(paragraph(rng) for _ in range(20)) + "\n", encoding="utf-8")


def _write_markdown(path: Path, seed: int) -> None:
    rng = random.Random(seed)
    parts = [f"# Report {seed}"]
    for number in range(1, 9):
        parts += [f"## {number}. {rng.choice(_WORDS).title()}", paragraph(rng), paragraph(rng)]
    parts.append(
        "| item | amount |\n| --- | --- |\n" + "\n".join(f"| {w} | {rng.randint(1, 999)} |" for w in _WORDS[:12])
    )
    path.write_text("\n\n".join(parts) + "\n", encoding="utf-8")


def _write_html(path: Path, seed: int) -> None:
    rng = random.Random(seed)
    body = "".join(
        f"<h2>{number}. {rng.choice(_WORDS)}</h2><p>{paragraph(rng)}</p><p>{paragraph(rng)}</p>"
        for number in range(1, 9)
    )
    path.write_text(
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Page {seed}</title></head>'
        f"<body><main><h1>Page {seed}</h1>{body}</main></body></html>\n",
        encoding="utf-8",
    )


def _write_csv(path: Path, seed: int) -> None:
    rng = random.Random(seed)
    lines = ["number,owner,item,amount"]
    lines += [
        f"{number},{rng.choice(_WORDS)} {rng.choice(_WORDS)},{rng.choice(_WORDS)},{rng.randint(1, 9999)}"
        for number in range(1, 301)
    ]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def _write_docx(path: Path, seed: int) -> None:
    import docx

    rng = random.Random(seed)
    document = docx.Document()
    document.add_heading(f"Report {seed}", level=1)
    for number in range(1, 7):
        document.add_heading(f"{number}. {rng.choice(_WORDS)}", level=2)
        document.add_paragraph(paragraph(rng))
        document.add_paragraph(paragraph(rng))
    table = document.add_table(rows=0, cols=2)
    for word in _WORDS[:8]:
        cells = table.add_row().cells
        cells[0].text, cells[1].text = word, str(rng.randint(1, 999))
    document.save(str(path))


def _write_picture(path: Path, seed: int) -> None:
    scan(random.Random(seed), lines=12).save(path)


def _write_tiff(path: Path, seed: int) -> None:
    rng = random.Random(seed)
    first, second = scan(rng, lines=10), scan(rng, lines=10)
    first.save(path, save_all=True, append_images=[second], compression="tiff_deflate", dpi=(150, 150))


MIXED: Mapping[str, Callable[[Path, int], None]] = {
    "digital.pdf": lambda path, seed: write_digital_pdf(path, 8, seed),
    "scanned.pdf": lambda path, seed: write_scanned_pdf(path, 3, seed),
    "mixed.pdf": lambda path, seed: write_mixed_pdf(path, 4, seed),
    "report.docx": _write_docx,
    "page.html": _write_html,
    "notes.md": _write_markdown,
    "letter.txt": _write_text,
    "table.csv": _write_csv,
    "receipt.png": _write_picture,
    "fax.tiff": _write_tiff,
}
"""One writer per kind of file; `write_mixed` goes round it."""


def write_mixed(folder: Path, count: int, seed: int) -> list[Path]:
    """`count` files of ten kinds, written into `folder` under names of their own."""
    folder.mkdir(parents=True, exist_ok=True)
    kinds = list(MIXED.items())
    paths: list[Path] = []
    for number in range(count):
        name, write = kinds[number % len(kinds)]
        path = folder / f"{number:02d}-{name}"
        write(path, seed * 1000 + number)
        paths.append(path)
    return paths
