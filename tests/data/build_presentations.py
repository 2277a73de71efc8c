"""Builds slides.pptx beside this file: `python -m tests.data.build_presentations`.

All its words are the project's own. What the tests alone need is built by the functions here, and never committed.
"""

from __future__ import annotations

import re
import zipfile
from collections.abc import Mapping
from io import BytesIO
from pathlib import Path
from types import MappingProxyType
from typing import Any

from tests.data.build_spreadsheets import RELATIONS, picture_png, relations_xml

_NOTHING: Mapping[str, bytes] = MappingProxyType({})
HERE = Path(__file__).resolve().parent
DRAWING = "http://schemas.openxmlformats.org/drawingml/2006/main"
PRESENTATION = "http://schemas.openxmlformats.org/presentationml/2006/main"
THREADED = "http://schemas.microsoft.com/office/powerpoint/2018/8/main"
_FIXED_DATE = (2026, 1, 1, 0, 0, 0)


def build_slides() -> bytes:
    """Slides of a harbour's meeting, with all that a presentation holds beside bullets."""
    from pptx import Presentation
    from pptx.chart.data import CategoryChartData
    from pptx.enum.chart import XL_CHART_TYPE
    from pptx.enum.shapes import MSO_SHAPE
    from pptx.util import Inches, Pt

    deck: Any = Presentation()
    deck.core_properties.title = "Harbour meeting"
    deck.core_properties.author = "P. Lind"

    first = deck.slides.add_slide(deck.slide_layouts[0])
    first.shapes.title.text = "The harbour in 2026"
    first.placeholders[1].text = "A meeting of the harbour office"

    second = deck.slides.add_slide(deck.slide_layouts[1])
    second.shapes.title.text = "What is to be done"
    body = second.placeholders[1].text_frame
    body.text = "Dredge the north basin"
    for text, level in (("before the spring tides", 1), ("Mend the slipway", 0)):
        paragraph = body.add_paragraph()
        paragraph.text, paragraph.level = text, level
    box = second.shapes.add_textbox(Inches(6), Inches(6.2), Inches(3), Inches(0.6)).text_frame
    run = box.paragraphs[0].add_run()
    run.text = "See the plan"
    run.hyperlink.address = "https://example.org/plan"
    second.notes_slide.notes_text_frame.text = "Say that the dredger is booked.\nAsk for volunteers."

    third = deck.slides.add_slide(deck.slide_layouts[5])
    third.shapes.title.text = "Berths and boats"
    table = third.shapes.add_table(3, 3, Inches(0.5), Inches(1.6), Inches(4), Inches(1.5)).table
    for at, text in enumerate(("Basin", "Berths", "", "North", "40", "2.5 m", "South", "12", "4.0 m")):
        table.cell(at // 3, at % 3).text = text
    table.cell(0, 1).merge(table.cell(0, 2))
    new_data: Any = CategoryChartData
    data = new_data(number_format="0%")
    data.categories = ["January", "February"]
    data.add_series("Sail", (0.4, 0.55))
    data.add_series("Motor", (0.6, 0.45))
    chart = third.shapes.add_chart(
        XL_CHART_TYPE.COLUMN_CLUSTERED, Inches(5), Inches(1.6), Inches(4.5), Inches(3), data
    ).chart
    chart.has_title = True
    chart.chart_title.text_frame.text = "Boats by kind"

    fourth = deck.slides.add_slide(deck.slide_layouts[6])
    title = fourth.shapes.add_textbox(Inches(0.5), Inches(0.4), Inches(9), Inches(0.6))
    title.text_frame.text = "Left and right"
    for left, words in ((0.5, ("Left above", "Left below")), (5.2, ("Right above", "Right below"))):
        for at, text in enumerate(words):
            box = fourth.shapes.add_textbox(Inches(left), Inches(1.5 + 1.2 * at), Inches(4), Inches(0.8))
            box.text_frame.text = text
    group = fourth.shapes.add_group_shape()
    for at, text in enumerate(("Bow", "Stern")):
        shape = group.shapes.add_shape(MSO_SHAPE.RECTANGLE, Inches(0.5 + 2 * at), Inches(4.2), Inches(1.5), Pt(40))
        shape.text_frame.text = text
    picture = fourth.shapes.add_picture(BytesIO(picture_png()), Inches(6), Inches(4.2), Inches(2))
    picture._element.nvPicPr.cNvPr.set("descr", "A red buoy")
    below = fourth.shapes.add_textbox(Inches(6), Inches(5.55), Inches(2), Inches(0.4))
    below.text_frame.text = "Buoy 7, painted anew"

    fifth = deck.slides.add_slide(deck.slide_layouts[5])
    fifth.shapes.title.text = "Reserve: not shown"
    fifth._element.set("show", "0")

    target = BytesIO()
    deck.save(target)
    comment = (
        f'<p188:cmLst xmlns:p188="{THREADED}" xmlns:a="{DRAWING}"><p188:cm id="{{1}}" authorId="{{A}}">'
        f"<p188:replyLst>{_said('p188:reply', '{B}', 'In March.')}</p188:replyLst>"
        "<p188:txBody><a:bodyPr/><a:p><a:r><a:t>When is this due?</a:t></a:r></a:p></p188:txBody>"
        "</p188:cm></p188:cmLst>"
    )
    authors = (
        f'<p188:authorLst xmlns:p188="{THREADED}"><p188:author id="{{A}}" name="H. Moss"/>'
        '<p188:author id="{B}" name="P. Lind"/></p188:authorLst>'
    )
    kind = "http://schemas.microsoft.com/office/2018/10/relationships"
    return settled(
        target.getvalue(),
        parts={"ppt/comments/modern1.xml": comment.encode(), "ppt/authors.xml": authors.encode()},
        relations={
            "ppt/slides/_rels/slide2.xml.rels": f'<Relationship Id="rc" Type="{kind}/comments" '
            'Target="../comments/modern1.xml"/>',
            "ppt/_rels/presentation.xml.rels": f'<Relationship Id="ra" Type="{kind}/authors" Target="authors.xml"/>',
        },
    )


def _said(tag: str, author: str, text: str) -> str:
    return (
        f'<{tag} id="{{2}}" authorId="{author}"><p188:txBody><a:bodyPr/><a:p><a:r><a:t>{text}</a:t></a:r></a:p>'
        f"</p188:txBody></{tag}>"
    )


def settled(data: bytes, parts: dict[str, bytes], relations: dict[str, str]) -> bytes:
    """`data`, a package, with parts and relationships added and all its dates the same, so that it is built alike."""
    target = BytesIO()
    kinds = {
        "ppt/comments/modern1.xml": "application/vnd.ms-powerpoint.comments+xml",
        "ppt/authors.xml": "application/vnd.ms-powerpoint.authors+xml",
    }
    with zipfile.ZipFile(BytesIO(data)) as source, zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        members = {item.filename: source.read(item) for item in source.infolist()} | parts
        for name, content in members.items():
            if name.endswith(".xlsx"):
                content = settled(content, {}, {})
            if name == "docProps/core.xml":
                content = re.sub(rb">\d{4}-\d\d-\d\dT[\d:]{8}Z<", b">2026-01-01T00:00:00Z<", content)
            if name in relations:
                content = content.replace(b"</Relationships>", relations[name].encode() + b"</Relationships>")
            if name == "[Content_Types].xml" and parts:
                named = "".join(f'<Override PartName="/{part}" ContentType="{kinds[part]}"/>' for part in parts)
                content = content.replace(b"</Types>", named.encode() + b"</Types>")
            archive.writestr(zipfile.ZipInfo(name, _FIXED_DATE), content, zipfile.ZIP_DEFLATED)
    return target.getvalue()


def minimal_pptx(
    *slides: str, slide_relations: str = "", size: str = "", parts: Mapping[str, bytes] = _NOTHING
) -> bytes:
    """A presentation of slides whose shapes are given as XML; `parts` are further members by name.

    All slides have the relationships in `slide_relations`, beside their own parts of the same names.
    """
    numbers = range(1, len(slides) + 1)
    listed = "".join(f'<p:sldId id="{255 + n}" r:id="r{n}"/>' for n in numbers)
    names = f'xmlns:p="{PRESENTATION}" xmlns:a="{DRAWING}" xmlns:r="{RELATIONS}"'
    members = {
        "[Content_Types].xml": (
            '<Types xmlns="http://schemas.openxmlformats.org/package/2006/content-types">'
            '<Override PartName="/ppt/presentation.xml" ContentType="application/vnd.openxmlformats-officedocument.'
            'presentationml.presentation.main+xml"/></Types>'
        ),
        "_rels/.rels": relations_xml(
            f'<Relationship Id="r1" Type="{RELATIONS}/officeDocument" Target="ppt/presentation.xml"/>'
        ),
        "ppt/presentation.xml": f"<p:presentation {names}><p:sldIdLst>{listed}</p:sldIdLst>{size}</p:presentation>",
        "ppt/_rels/presentation.xml.rels": relations_xml(
            "".join(f'<Relationship Id="r{n}" Type="{RELATIONS}/slide" Target="slides/slide{n}.xml"/>' for n in numbers)
        ),
    }
    for n, slide in enumerate(slides, 1):
        members[f"ppt/slides/slide{n}.xml"] = f"<p:sld {names}><p:cSld><p:spTree>{slide}</p:spTree></p:cSld></p:sld>"
        if slide_relations:
            members[f"ppt/slides/_rels/slide{n}.xml.rels"] = relations_xml(slide_relations)
    everything = {**{name: text.encode() for name, text in members.items()}, **parts}
    target = BytesIO()
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in everything.items():
            archive.writestr(zipfile.ZipInfo(name, _FIXED_DATE), data, zipfile.ZIP_DEFLATED)
    return target.getvalue()


def text_shape(text: str, x: int = 0, y: int = 0, width: int = 100, height: int = 20, placeholder: str = "") -> str:
    """A shape with one paragraph, at a place in points; without a width it has none."""
    frame = (
        f'<a:xfrm><a:off x="{x * 12700}" y="{y * 12700}"/><a:ext cx="{width * 12700}" cy="{height * 12700}"/></a:xfrm>'
        if width
        else ""
    )
    kind = f'<p:ph type="{placeholder}"/>' if placeholder else ""
    return (
        f'<p:sp><p:nvSpPr><p:cNvPr id="2" name="x"/><p:cNvSpPr/><p:nvPr>{kind}</p:nvPr></p:nvSpPr>'
        f"<p:spPr>{frame}</p:spPr><p:txBody><a:bodyPr/><a:p><a:r><a:t>{text}</a:t></a:r></a:p></p:txBody></p:sp>"
    )


def main() -> None:
    (HERE / "slides.pptx").write_bytes(build_slides())


if __name__ == "__main__":
    main()
