"""Builds the samples of text, CSV, Markdown, HTML and DOCX beside this file: `python -m tests.data.build_samples`.

All their words are the project's own. What would be large or is only bytes is built by the tests, through the functions
here, and never committed.
"""

from __future__ import annotations

import base64
import struct
import zipfile
import zlib
from io import BytesIO
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
_FIXED_DATE = (2026, 1, 1, 0, 0, 0)

LEASE = """Lease of the boathouse

Between Ms. Grünwald (the “landlord”) and Mr. Côté (the “tenant”), the following is agreed.

The rent is €450 a month – due on the third working day. If the tenant is late by more than ten days,
the landlord may end the lease.

The boathouse may not be sublet.
"""

RUSSIAN = "Договор аренды. Арендная плата составляет 450 рублей в месяц. Срок договора — один год.\n" * 3
JAPANESE = "賃貸借契約書。賃料は毎月末日までに支払うものとする。契約期間は一年とする。\n" * 3

MARKDOWN = """---
title: Harbour handbook
author: Petra Lind
lang: en-GB
---

# Harbour handbook

The harbour has *two* basins and **one** slipway; see [the plan](https://example.org/plan "Plan").

## Mooring

1. Radio the office on `channel 12`.
2. Wait for a berth.
   - Bow first
   - Fenders out

> Boats over 12 m need a pilot.

| Basin | Berths | Depth |
|-------|-------:|------:|
| North | 40     | 2.5 m |
| South | 12     | 4.0 m |

```python
def fee(metres): return 3 * metres
```

Old fee ~~2~~ 3 a metre.<br>Paid in cash.

![A red buoy](data:image/png;base64,PICTURE)

<div><p>Raw <b>HTML</b> is read too.</p><script>alert(1)</script></div>
"""

HTML = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>Tide  tables</title>
<meta name="author" content="H. Moss"><style>p{color:red}</style><script>var secret = 1;</script></head>
<body>
<nav><ul><li><a href="/">Home</a></li><li>Tides</li></ul></nav>
<h1>Tide tables</h1>
<p>High water at <b>Porth</b>ness,<br>in metres above datum.</p>
<p hidden>not shown</p><p style="display: none">nor this</p><noscript>nor that</noscript>
<table><caption>January</caption>
<thead><tr><th rowspan="2">Day</th><th colspan="2">High water</th></tr><tr><th>Time</th><th>Height</th></tr></thead>
<tbody><tr><td>1</td><td>04:10</td><td>5.2</td></tr><tr><td>2</td><td>04:55</td><td>5.4</td></tr></tbody></table>
<ol><li>Check the day<ul><li>in local time</li></ul></li><li>Add an hour in summer</li></ol>
<pre><code class="language-text">04:10  5.2
04:55  5.4</code></pre>
<blockquote>Neaps follow springs by a week.</blockquote>
<figure><img alt="Gauge" src="data:image/png;base64,PICTURE"><figcaption>The gauge</figcaption></figure>
<p>Caf&eacute; &amp; shop &lt;open&gt;</p>
<img src="https://example.org/tracker.png" alt="">
</body></html>
"""

CSV = """port,berths,depth
Porthness,40,2.5
"Ayre, old quay",12,4.0
"Long
Reach",7,3.1
"""


def picture_bytes(width: int = 48, height: int = 32) -> bytes:
    """A PNG of one colour."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    rows = zlib.compress((b"\x00" + b"\xc0\x20\x20" * width) * height, 9)
    head = struct.pack(">2I5B", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


def with_picture(text: str) -> str:
    """`text` with a real picture in its data: addresses."""
    return text.replace("PICTURE", base64.b64encode(picture_bytes()).decode())


def report_docx() -> bytes:
    """A Word document that has everything: notes, comments, headers, changes, lists, tables, a text box, a formula."""
    from docx import Document

    document = Document()
    document.core_properties.title = "Survey of the quay"
    document.core_properties.author = "Ines Falk"
    document.sections[0].header.paragraphs[0].text = "Harbour board"
    document.sections[0].footer.paragraphs[0].text = "Confidential until May"
    document.add_heading("Survey of the quay", 0)
    document.add_heading("Findings", 1)
    paragraph = document.add_paragraph("The quay wall leans by 40 mm.")
    paragraph._p.append(
        _xml('<w:ins w:id="1" w:author="x"><w:r><w:t xml:space="preserve"> Seen in May.</w:t></w:r></w:ins>')
    )
    paragraph._p.append(_xml('<w:del w:id="2" w:author="x"><w:r><w:delText>Seen in June.</w:delText></w:r></w:del>'))
    paragraph._p.append(_xml('<w:r><w:commentReference w:id="7"/></w:r>'))
    document.add_paragraph("Cracks above the waterline", style="List Bullet")
    document.add_paragraph("Two bollards are loose", style="List Bullet")
    document.add_paragraph("Drain the sluice", style="List Number")
    document.add_picture(BytesIO(picture_bytes()))
    table = document.add_table(rows=3, cols=3)
    for row, texts in zip(
        table.rows, (("Place", "Depth", "Width"), ("North", "2.5", "30"), ("South", "4.0", "")), strict=True
    ):
        for cell, text in zip(row.cells, texts, strict=True):
            cell.text = text
    table.cell(2, 1).merge(table.cell(2, 2))
    control = "<w:sdt><w:sdtContent><w:p><w:r><w:t>Inside a content control.</w:t></w:r></w:p></w:sdtContent></w:sdt>"
    document.element.body.insert(-1, _xml(control))
    box = (
        "<w:p><w:r><mc:AlternateContent {ns}><mc:Choice Requires='wps'><w:drawing><wps:txbx><w:txbxContent>"
        "<w:p><w:r><w:t>Text in a box.</w:t></w:r></w:p></w:txbxContent></wps:txbx></w:drawing></mc:Choice>"
        "<mc:Fallback><w:pict><v:textbox xmlns:v='urn:schemas-microsoft-com:vml'><w:txbxContent>"
        "<w:p><w:r><w:t>Text in a box.</w:t></w:r></w:p></w:txbxContent></v:textbox></w:pict></mc:Fallback>"
        "</mc:AlternateContent></w:r></w:p>"
    ).format(
        ns='xmlns:mc="http://schemas.openxmlformats.org/markup-compatibility/2006" '
        'xmlns:wps="http://schemas.microsoft.com/office/word/2010/wordprocessingShape"'
    )
    document.element.body.insert(-1, _xml(box))
    formula = (
        '<w:p><m:oMath xmlns:m="http://schemas.openxmlformats.org/officeDocument/2006/math"><m:r><m:t>F=</m:t></m:r>'
        "<m:f><m:num><m:r><m:t>m</m:t></m:r></m:num><m:den><m:r><m:t>a</m:t></m:r></m:den></m:f></m:oMath></w:p>"
    )
    document.element.body.insert(-1, _xml(formula))
    document.add_page_break()  # type: ignore[no-untyped-call]  # python-docx leaves it without types
    document.add_heading("Advice", 1)
    advice = document.add_paragraph("Close the north basin.")
    advice._p.append(_xml('<w:r><w:footnoteReference w:id="3"/></w:r>'))
    buffer = BytesIO()
    document.save(buffer)
    notes = (
        '<w:footnotes {ns}><w:footnote w:id="3"><w:p><w:r><w:t>After the board has met.</w:t></w:r></w:p></w:footnote>'
        "</w:footnotes>"
    )
    comments = (
        '<w:comments {ns}><w:comment w:id="7" w:author="Jo"><w:p><w:r><w:t>Measure again.</w:t></w:r></w:p></w:comment>'
        "</w:comments>"
    )
    return _with_parts(buffer.getvalue(), {"footnotes": notes, "comments": comments})


_W = 'xmlns:w="http://schemas.openxmlformats.org/wordprocessingml/2006/main"'


def _xml(source: str) -> Any:
    from docx.oxml import parse_xml

    name_end = min(i for i in (source.find(" "), source.find(">")) if i > 0)
    return parse_xml(f"{source[:name_end]} {_W}{source[name_end:]}")


def _with_parts(package: bytes, parts: dict[str, str]) -> bytes:
    source = zipfile.ZipFile(BytesIO(package))
    members = {name: source.read(name) for name in sorted(source.namelist())}
    relations = members["word/_rels/document.xml.rels"].decode()
    types = members["[Content_Types].xml"].decode()
    for number, (kind, xml) in enumerate(parts.items(), 900):
        if f"/{kind}" in relations:
            continue
        members[f"word/{kind}.xml"] = xml.format(ns=_W).encode()
        relation = (
            f'<Relationship Id="rId{number}" Target="{kind}.xml" '
            f'Type="http://schemas.openxmlformats.org/officeDocument/2006/relationships/{kind}"/>'
        )
        relations = relations.replace("</Relationships>", f"{relation}</Relationships>")
        content_type = f"application/vnd.openxmlformats-officedocument.wordprocessingml.{kind}+xml"
        types = types.replace(
            "</Types>", f'<Override PartName="/word/{kind}.xml" ContentType="{content_type}"/></Types>'
        )
    members["word/_rels/document.xml.rels"] = relations.encode()
    members["[Content_Types].xml"] = types.encode()
    return zip_bytes(members)


def zip_bytes(members: dict[str, bytes]) -> bytes:
    """A zip file with these members, the same bytes every time."""
    buffer = BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members.items():
            archive.writestr(zipfile.ZipInfo(name, _FIXED_DATE), data, zipfile.ZIP_DEFLATED, 9)
    return buffer.getvalue()


def minimal_docx(document_xml: bytes, **more: bytes) -> bytes:
    """A DOCX with the given body part and nothing else but what must be there."""
    relations = (
        b'<Relationships xmlns="http://schemas.openxmlformats.org/package/2006/relationships"><Relationship Id="r1" '
        b'Type="http://schemas.openxmlformats.org/officeDocument/2006/relationships/officeDocument" '
        b'Target="word/document.xml"/></Relationships>'
    )
    types = b'<Types xmlns="http://schemas.openxmlformats.org/package/2006/content-types"/>'
    return zip_bytes(
        {"[Content_Types].xml": types, "_rels/.rels": relations, "word/document.xml": document_xml, **more}
    )


def body_xml(inside: str) -> bytes:
    """A document part whose body holds `inside`."""
    return f"<w:document {_W}><w:body>{inside}</w:body></w:document>".encode()


def bomb_docx(inflated_bytes: int) -> bytes:
    """A DOCX whose body says that it inflates to so many bytes, and does: a thousandth of that in size."""
    step = 1 << 24
    compressor = zlib.compressobj(9, zlib.DEFLATED, -15)
    block = compressor.compress(b" " * step) + compressor.flush(zlib.Z_FULL_FLUSH)
    ending = zlib.compressobj(9, zlib.DEFLATED, -15).flush()
    name = b"word/document.xml"
    small = minimal_docx(b"<a/>")
    packed = block * (inflated_bytes // step) + ending
    size = inflated_bytes // step * step
    fields = (20, 0, 8, 0, 33, 0, len(packed), size, len(name))
    local = struct.pack("<4s5H3L2H", b"PK\x03\x04", *fields, 0) + name + packed
    with zipfile.ZipFile(BytesIO(small)) as archive:
        others = [(m.filename.encode(), archive.read(m)) for m in archive.infolist() if m.filename != name.decode()]
    directory = struct.pack("<4s6H3L5H2L", b"PK\x01\x02", 20, *fields, 0, 0, 0, 0, 0, 0) + name
    content, entries = local, 1
    for member, data in others:
        offset = len(content)
        rest = (20, 0, 0, 0, 33, zlib.crc32(data), len(data), len(data), len(member))
        content += struct.pack("<4s5H3L2H", b"PK\x03\x04", *rest, 0) + member + data
        directory += struct.pack("<4s6H3L5H2L", b"PK\x01\x02", 20, *rest, 0, 0, 0, 0, 0, offset) + member
        entries += 1
    end = struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, entries, entries, len(directory), len(content), 0)
    return content + directory + end


def encrypted_office() -> bytes:
    """An OLE file with the streams of an encrypted Office document, as [MS-OFFCRYPTO] 2.3 lays it out."""
    header = bytearray(512)
    header[:8] = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
    struct.pack_into("<5H", header, 24, 0x3E, 3, 0xFFFE, 9, 6)
    struct.pack_into("<L", header, 44, 1)
    struct.pack_into("<L", header, 48, 1)
    header[76:] = b"\xff" * (512 - 76)
    struct.pack_into("<L", header, 76, 0)
    table = struct.pack("<2L", 0xFFFFFFFD, 0xFFFFFFFE) + b"\xff" * 504
    directory = b""
    for name in ("Root Entry", "EncryptionInfo", "EncryptedPackage", ""):
        encoded = name.encode("utf-16-le") + b"\x00\x00" if name else b""
        directory += encoded.ljust(64, b"\x00") + struct.pack("<H", len(encoded)) + b"\x00" * 62
    return bytes(header) + table + directory


SAMPLES: dict[str, bytes] = {
    "lease.txt": LEASE.encode(),
    "lease_cp1252.txt": LEASE.encode("cp1252"),
    "harbour.md": with_picture(MARKDOWN).encode(),
    "tides.html": with_picture(HTML).encode(),
    "ports.csv": CSV.encode(),
    "ports.tsv": CSV.replace('"Ayre, old quay"', "Ayre, old quay")
    .replace(",", "\t")
    .replace("Ayre\t old", "Ayre, old")
    .encode(),
}


def build(folder: Path) -> None:
    """Writes every sample into `folder`."""
    for name, data in {**SAMPLES, "survey.docx": report_docx()}.items():
        (folder / name).write_bytes(data)


if __name__ == "__main__":
    build(HERE)
