"""Builds the EPUB sample beside this file: `python -m tests.data.build_epub`. Its words are the project's own."""

from __future__ import annotations

from pathlib import Path

from tests.data.build_samples import picture_bytes, zip_bytes

HERE = Path(__file__).resolve().parent

CONTAINER = (
    b'<container xmlns="urn:oasis:names:tc:opendocument:xmlns:container" version="1.0"><rootfiles><rootfile '
    b'full-path="OEBPS/content.opf" media-type="application/oebps-package+xml"/></rootfiles></container>'
)
PACKAGE = """<?xml version="1.0"?><package xmlns="http://www.idpf.org/2007/opf" version="3.0">
<metadata xmlns:dc="http://purl.org/dc/elements/1.1/"><dc:title>Tales of the tide</dc:title>
<dc:creator>Petra Lind</dc:creator>
<dc:creator>H. Moss</dc:creator><dc:language>en</dc:language></metadata>
<manifest><item id="nav" href="nav.xhtml" media-type="application/xhtml+xml" properties="nav"/>
<item id="cover" href="images/cover.png" media-type="image/png" properties="cover-image"/>
<item id="gauge" href="images/gauge.png" media-type="image/png"/>
<item id="c1" href="text/chapter%201.xhtml" media-type="application/xhtml+xml"/>
<item id="c2" href="text/chapter2.xhtml" media-type="application/xhtml+xml"/></manifest>
<spine><itemref idref="c1"/><itemref idref="c2"/><itemref idref="unknown"/></spine></package>"""

CHAPTER = """<?xml version="1.0" encoding="utf-8"?><html xmlns="http://www.w3.org/1999/xhtml"
 xmlns:epub="http://www.idpf.org/2007/ops"><head><title/></head><body>{}</body></html>"""

FIRST = CHAPTER.format(
    '<h1>Ebb</h1><p>The water left the harbour<a epub:type="noteref" href="#n1">1</a> at noon&#8212;café closed.</p>'
    '<aside epub:type="footnote" id="n1"><p>By the old clock.</p></aside>'
    '<figure><img src="../images/gauge.png" alt="Gauge"/><figcaption>The gauge at noon</figcaption></figure>'
    '<ul><li>Mud</li><li>Shells<ol><li>white</li></ol></li></ul>'
)  # fmt: skip
SECOND = CHAPTER.format(
    '<section epub:type="chapter"><h1>Flood</h1><p>See <a href="https://example.org/tides">the tables</a>.</p>'
    "<table><tr><th>Day</th><th>Time</th></tr><tr><td>1</td><td>04:10</td></tr></table></section>"
)
NAVIGATION = CHAPTER.format('<nav epub:type="toc"><ol><li><a href="text/chapter%201.xhtml">Ebb</a></li></ol></nav>')


def book(**more: bytes) -> bytes:
    """The sample; `more` replaces its members or adds some."""
    members = {
        "mimetype": b"application/epub+zip",
        "META-INF/container.xml": CONTAINER,
        "OEBPS/content.opf": PACKAGE.encode(),
        "OEBPS/nav.xhtml": NAVIGATION.encode(),
        "OEBPS/text/chapter 1.xhtml": FIRST.encode(),
        "OEBPS/text/chapter2.xhtml": SECOND.encode(),
        "OEBPS/images/cover.png": picture_bytes(60, 80),
        "OEBPS/images/gauge.png": picture_bytes(),
    }
    return zip_bytes({**members, **more})


if __name__ == "__main__":
    (HERE / "book.epub").write_bytes(book())
