"""Builds the pictures frames.gif, stamp.bmp, photo.avif and photo.heic, and the old Office files memo.doc and talk.ppt.

`python -m tests.data.build_pictures`. photo.heic needs pillow-heif and the Office files LibreOffice, neither of which
the project depends on: what is not installed is left as it is. The type is Bitstream Vera, which reportlab carries with
its licence; all words are the project's own.
"""

from __future__ import annotations

import importlib
import io
import subprocess
import tempfile
from pathlib import Path

import olefile
import reportlab
from PIL import Image, ImageDraw, ImageFont

from services.formats.office.libreoffice import find_libreoffice
from tests.data.compound_file import compound_file

HERE = Path(__file__).resolve().parent
FONT = Path(reportlab.__file__).parent / "fonts" / "Vera.ttf"

SLIDES = ("Tides of May", "High water 04:10", "Low water 10:25")


def slide(text: str, *, size: tuple[int, int] = (360, 120)) -> Image.Image:
    """A white picture with one line of text."""
    image = Image.new("RGB", size, "white")
    ImageDraw.Draw(image).text((18, size[1] // 2 - 18), text, font=ImageFont.truetype(str(FONT), 30), fill="black")
    return image


def gif_bytes(frames: list[Image.Image], duration_ms: int) -> bytes:
    """An animated GIF of these frames."""
    buffer = io.BytesIO()
    first, *rest = [frame.convert("P", palette=Image.Palette.ADAPTIVE, colors=16) for frame in frames]
    first.save(buffer, "GIF", save_all=True, append_images=rest, duration=duration_ms, loop=0, disposal=1)
    return buffer.getvalue()


def photo() -> Image.Image:
    """A buoy on the water, with its number."""
    image = Image.new("RGB", (320, 240), (150, 190, 220))
    draw = ImageDraw.Draw(image)
    draw.rectangle((0, 150, 320, 240), fill=(40, 90, 130))
    draw.polygon([(130, 160), (190, 160), (175, 70), (145, 70)], fill=(200, 40, 40))
    draw.text((146, 100), "N4", font=ImageFont.truetype(str(FONT), 20), fill="white")
    return image


def build(folder: Path) -> None:
    """Writes what can be built here into `folder`."""
    (folder / "frames.gif").write_bytes(gif_bytes([slide(text) for text in SLIDES], 2000))
    slide("PAID 12 May", size=(300, 80)).convert("L").save(folder / "stamp.bmp")
    exif = Image.Exif()
    exif[0x0112] = 6
    photo().rotate(90, expand=True).save(folder / "photo.avif", quality=70, exif=exif)
    try:
        heif = importlib.import_module("pillow_heif")
    except ImportError:
        pass
    else:
        heif.register_heif_opener()
        photo().rotate(90, expand=True).save(folder / "photo.heic", quality=60, exif=exif.tobytes())
    build_office(folder)


def build_office(folder: Path) -> None:
    """Writes memo.doc and talk.ppt, which LibreOffice makes of new documents."""
    program = find_libreoffice()
    if program is None:
        return
    with tempfile.TemporaryDirectory() as name:
        work = Path(name)
        memo(work / "memo.docx")
        talk(work / "talk.fodp")
        for source, kind in (("memo.docx", "doc:MS Word 97"), ("talk.fodp", "ppt:MS PowerPoint 97")):
            profile = f"-env:UserInstallation={(work / 'profile').as_uri()}"
            command = [str(program), "--headless", profile, "--convert-to", kind, "--outdir", str(folder)]
            subprocess.run([*command, str(work / source)], check=True, capture_output=True)
    path = folder / "talk.ppt"
    with olefile.OleFileIO(path) as container:
        # All but the thumbnail, a bitmap of 400 kB in the summary.
        streams = {name: container.openstream(name).read() for name in ("Current User", "PowerPoint Document")}
    path.write_bytes(compound_file(streams))


def memo(path: Path) -> None:
    """A memorandum with a heading, a list, a table and a footer."""
    from docx import Document

    document = Document()
    document.core_properties.title = "Memo on the slipway"
    document.core_properties.author = "Ines Falk"
    document.sections[0].footer.paragraphs[0].text = "Harbour office"
    document.add_heading("Memo on the slipway", 1)
    document.add_paragraph("The slipway closes on Monday – for a week, or until the café has been moved.")
    document.add_paragraph("Lift the boats", style="List Bullet")
    document.add_paragraph("Tell the owners", style="List Bullet")
    table = document.add_table(rows=2, cols=2)
    for row, texts in zip(table.rows, (("Boat", "Length"), ("Heron", "12 m")), strict=True):
        for cell, text in zip(row.cells, texts, strict=True):
            cell.text = text
    document.save(str(path))


_DECK = """<?xml version="1.0" encoding="UTF-8"?>
<office:document xmlns:office="urn:oasis:names:tc:opendocument:xmlns:office:1.0"
 xmlns:text="urn:oasis:names:tc:opendocument:xmlns:text:1.0"
 xmlns:draw="urn:oasis:names:tc:opendocument:xmlns:drawing:1.0"
 xmlns:presentation="urn:oasis:names:tc:opendocument:xmlns:presentation:1.0"
 xmlns:style="urn:oasis:names:tc:opendocument:xmlns:style:1.0"
 xmlns:svg="urn:oasis:names:tc:opendocument:xmlns:svg-compatible:1.0" office:version="1.3"
 office:mimetype="application/vnd.oasis.opendocument.presentation">
<office:automatic-styles><style:page-layout style:name="L"/></office:automatic-styles>
<office:master-styles><style:master-page style:name="M" style:page-layout-name="L"/></office:master-styles>
<office:body><office:presentation>SLIDES</office:presentation></office:body></office:document>
"""
_SLIDE = """<draw:page draw:master-page-name="M">
<draw:frame presentation:class="title" svg:x="2cm" svg:y="1cm" svg:width="20cm" svg:height="3cm"><draw:text-box>
<text:p>TITLE</text:p></draw:text-box></draw:frame>
<draw:frame presentation:class="outline" svg:x="2cm" svg:y="5cm" svg:width="20cm" svg:height="9cm"><draw:text-box>
BODY</draw:text-box></draw:frame>
<presentation:notes><draw:frame presentation:class="notes" svg:x="2cm" svg:y="14cm" svg:width="16cm" svg:height="9cm">
<draw:text-box><text:p>NOTES</text:p></draw:text-box></draw:frame></presentation:notes></draw:page>"""


def talk(path: Path) -> None:
    """Two slides, one with notes, as a flat OpenDocument presentation without any template."""
    slides = (
        ("The harbour in figures", ("Ines Falk, May",), ""),
        ("Berths", ("North basin: 40", "South basin: 12"), "Mention the waiting list."),
    )
    shown = "".join(
        _SLIDE.replace("TITLE", title)
        .replace("BODY", "".join(f"<text:p>{line}</text:p>" for line in body))
        .replace("NOTES", notes)
        for title, body, notes in slides
    )
    path.write_text(_DECK.replace("SLIDES", shown), encoding="utf-8")


if __name__ == "__main__":
    build(HERE)
