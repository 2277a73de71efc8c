"""Builds the OpenDocument samples beside this file: `python -m tests.data.build_odf`.

All their words are the project's own.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

from tests.data.build_samples import picture_bytes, zip_bytes

HERE = Path(__file__).resolve().parent
_OASIS = "urn:oasis:names:tc:opendocument:xmlns:"
_NAMES = {
    "office": "office", "text": "text", "table": "table", "draw": "drawing", "presentation": "presentation",
    "style": "style", "fo": "xsl-fo-compatible", "svg": "svg-compatible", "meta": "meta", "manifest": "manifest",
    "chart": "chart",
}  # fmt: skip
NAMESPACES = " ".join(f'xmlns:{prefix}="{_OASIS}{name}:1.0"' for prefix, name in _NAMES.items()) + (
    ' xmlns:xlink="http://www.w3.org/1999/xlink" xmlns:dc="http://purl.org/dc/elements/1.1/"'
)


META = """<office:document-meta {ns}><office:meta><dc:title>{title}</dc:title>
<meta:initial-creator>Ines Falk</meta:initial-creator><dc:language>en-GB</dc:language>
<meta:document-statistic meta:table-count="{tables}"/></office:meta></office:document-meta>"""

LAYOUT = """<office:automatic-styles><style:page-layout style:name="pm1"><style:page-layout-properties
 fo:page-width="{width}" fo:page-height="{height}"/></style:page-layout></office:automatic-styles>"""

TEXT_STYLES = (
    "<office:document-styles {ns}><office:styles>"
    '<style:style style:name="Title" style:family="paragraph"/>'
    '<style:style style:name="Illustration" style:family="paragraph"/>'
    '<style:style style:name="Quotations" style:family="paragraph"/>'
    '<style:style style:name="Preformatted_20_Text" style:display-name="Preformatted Text" style:family="paragraph"/>'
    "</office:styles>"
    + LAYOUT.format(width="21cm", height="29.7cm")
    + '<office:master-styles><style:master-page style:name="Standard" style:page-layout-name="pm1">'
    "<style:header><text:p>Harbour board</text:p></style:header>"
    "<style:footer><text:p>Confidential until May, page <text:page-number>1</text:page-number></text:p></style:footer>"
    "</style:master-page></office:master-styles></office:document-styles>"
)

TEXT_AUTOMATIC = """<office:automatic-styles>
<style:style style:name="P1" style:family="paragraph" style:parent-style-name="Title"/>
<style:style style:name="P2" style:family="paragraph"><style:paragraph-properties fo:break-before="page"/></style:style>
<style:style style:name="T1" style:family="text"><style:text-properties text:display="none"/></style:style>
<text:list-style style:name="L1"><text:list-level-style-number text:level="1" style:num-format="1"/>
<text:list-level-style-bullet text:level="2" text:bullet-char="-"/></text:list-style></office:automatic-styles>"""

TEXT_BODY = """<office:text><text:tracked-changes>
<text:changed-region text:id="ct1"><text:insertion><office:change-info><dc:creator>Jo</dc:creator></office:change-info>
</text:insertion></text:changed-region>
<text:changed-region text:id="ct2"><text:deletion><office:change-info><dc:creator>Jo</dc:creator></office:change-info>
<text:p>Seen in June.</text:p></text:deletion></text:changed-region></text:tracked-changes>
<text:p text:style-name="P1">Survey of the quay</text:p>
<text:h text:outline-level="1">Findings</text:h>
<text:p>The quay<text:s text:c="2"/>wall leans by 40 mm.<text:change-start
 text:change-id="ct1"/> Seen in May.<text:change-end text:change-id="ct1"/><text:change text:change-id="ct2"/>
<office:annotation><dc:creator>Ines</dc:creator>
<text:p>Measure again.</text:p></office:annotation> See <text:a xlink:href="https://example.org/plan">the plan</text:a>
<text:note text:note-class="footnote"><text:note-citation>1</text:note-citation><text:note-body>
<text:p>After the board has met.</text:p></text:note-body></text:note>.</text:p>
<text:list text:style-name="L1"><text:list-item><text:p>Drain the sluice</text:p>
<text:list><text:list-item><text:p>from the north</text:p></text:list-item></text:list></text:list-item>
<text:list-item><text:p>Close the gate</text:p></text:list-item></text:list>
<table:table table:name="Depths"><table:table-column table:number-columns-repeated="3"/>
<table:table-header-rows><table:table-row><table:table-cell><text:p>Place</text:p></table:table-cell>
<table:table-cell table:number-columns-spanned="2"><text:p>Size</text:p></table:table-cell><table:covered-table-cell/>
</table:table-row></table:table-header-rows>
<table:table-row><table:table-cell><text:p>North</text:p></table:table-cell><table:table-cell
 table:number-columns-repeated="2"><text:p>2.5</text:p></table:table-cell></table:table-row></table:table>
<text:p><draw:frame svg:width="4cm" svg:height="3cm"><draw:text-box><text:p text:style-name="Illustration">
<draw:frame svg:width="4cm" svg:height="2cm"><draw:image xlink:href="Pictures/gauge.png"/><svg:title>Gauge</svg:title>
</draw:frame>Figure 1: The gauge</text:p></draw:text-box></draw:frame></text:p>
<text:p>Nobody <text:span text:style-name="T1">sees this</text:span> but this.</text:p>
<text:section text:display="none"><text:p>A hidden section.</text:p></text:section>
<text:p><draw:frame><draw:object xlink:href="./Object 1"/></draw:frame></text:p>
<text:p text:style-name="P2">Close the north <text:soft-page-break/>basin.</text:p>
<text:p text:style-name="Quotations">Neaps follow springs.</text:p>
<text:p text:style-name="Preformatted_20_Text">04:10<text:tab/>5.2<text:line-break/>04:55<text:tab/>5.4</text:p>
</office:text>"""

FORMULA = """<math xmlns="http://www.w3.org/1998/Math/MathML"><semantics><mrow><mi>F</mi><mo>=</mo><mfrac><mi>m</mi>
<msup><mi>a</mi><mn>2</mn></msup></mfrac></mrow>
<annotation encoding="StarMath 5.0">F = m over a^2</annotation></semantics></math>"""

SHEET_AUTOMATIC = """<office:automatic-styles><style:style style:name="ta2" style:family="table"><style:table-properties
 table:display="false"/></style:style></office:automatic-styles>"""

SHEET_BODY = """<office:spreadsheet><table:table table:name="Berths">
<table:shapes><draw:frame>
<draw:image xlink:href="Pictures/gauge.png"/><svg:desc>Gauge</svg:desc></draw:frame></table:shapes>
<table:table-column table:number-columns-repeated="16384"/>
<table:table-row><table:table-cell office:value-type="string"><text:p>Berths of the harbour</text:p></table:table-cell>
<table:table-cell table:number-columns-repeated="16383"/></table:table-row>
<table:table-row><table:table-cell table:number-columns-repeated="16384"/></table:table-row>
<table:table-row><table:table-cell/><table:table-cell><text:p>Basin</text:p></table:table-cell>
<table:table-cell><text:p>Fee</text:p></table:table-cell><table:table-cell><text:p>Since</text:p></table:table-cell></table:table-row>
<table:table-row><table:table-cell/><table:table-cell><text:p>North</text:p><office:annotation><dc:creator>Jo</dc:creator>
<text:p>Dredged?</text:p></office:annotation></table:table-cell>
<table:table-cell office:value-type="currency" office:value="450"><text:p>€450.00</text:p></table:table-cell>
<table:table-cell office:value-type="date" office:date-value="2026-05-01"><text:p>1 May 2026</text:p></table:table-cell>
</table:table-row>
<table:table-row table:number-rows-repeated="2"><table:table-cell/>
<table:table-cell><text:p>South</text:p></table:table-cell>
<table:table-cell office:value-type="float" office:value="12.5"/></table:table-row>
<table:table-row table:number-rows-repeated="1000000"><table:table-cell table:number-columns-repeated="16384"/>
</table:table-row></table:table>
<table:table table:name="Old fees" table:style-name="ta2"><table:table-row><table:table-cell><text:p>2019</text:p>
</table:table-cell><table:table-cell><text:p>€300.00</text:p></table:table-cell></table:table-row></table:table>
</office:spreadsheet>"""

SLIDE_STYLES = (
    "<office:document-styles {ns}>"
    + LAYOUT.format(width="28cm", height="15.75cm")
    + '<office:master-styles><style:master-page style:name="M1" style:page-layout-name="pm1">'
    '<draw:frame presentation:class="title" presentation:placeholder="true"><draw:text-box><text:p>Click</text:p>'
    "</draw:text-box></draw:frame><draw:frame><draw:text-box><text:p>Port of Ayre</text:p></draw:text-box></draw:frame>"
    "</style:master-page></office:master-styles></office:document-styles>"
)

SLIDE_AUTOMATIC = """<office:automatic-styles><style:style style:name="dp2" style:family="drawing-page">
<style:drawing-page-properties presentation:visibility="hidden"/></style:style></office:automatic-styles>"""

SLIDE_BODY = """<office:presentation>
<presentation:footer-decl presentation:name="ftr1">Spring 2026</presentation:footer-decl>
<draw:page draw:name="one" draw:master-page-name="M1" presentation:use-footer-name="ftr1">
<draw:frame presentation:class="outline" svg:x="2cm" svg:y="4cm" svg:width="20cm" svg:height="8cm"><draw:text-box>
<text:list><text:list-item><text:p>Two basins</text:p><text:list><text:list-item><text:p>North is deeper</text:p>
</text:list-item></text:list></text:list-item></text:list></draw:text-box></draw:frame>
<draw:frame presentation:class="title" svg:x="2cm" svg:y="1cm" svg:width="20cm" svg:height="2cm"><draw:text-box>
<text:p>The harbour</text:p></draw:text-box></draw:frame>
<draw:frame svg:x="1in" svg:y="1in" svg:width="2in" svg:height="1in"><draw:image xlink:href="Pictures/gauge.png"/>
<svg:title>Gauge</svg:title></draw:frame>
<draw:g><draw:custom-shape svg:x="1cm" svg:y="1cm" svg:width="2cm" svg:height="1cm"><text:p>In a group</text:p>
</draw:custom-shape></draw:g>
<presentation:notes><draw:page-thumbnail/><draw:frame presentation:class="notes"><draw:text-box>
<text:p>Mention the dredging.</text:p></draw:text-box></draw:frame></presentation:notes></draw:page>
<draw:page draw:name="two" draw:master-page-name="M1" draw:style-name="dp2"><draw:frame svg:x="0cm" svg:y="0cm"
 svg:width="5cm" svg:height="5cm"><table:table>
<table:table-row><table:table-cell><text:p>Basin</text:p></table:table-cell>
<table:table-cell><text:p>Depth</text:p></table:table-cell></table:table-row>
<table:table-row><table:table-cell><text:p>North</text:p></table:table-cell><table:table-cell><text:p>2.5</text:p></table:table-cell></table:table-row></table:table>
</draw:frame></draw:page></office:presentation>"""


def package(
    kind: str,
    body: str,
    more: Mapping[str, bytes] = MappingProxyType({}),
    *,
    automatic: str = "",
    styles: str = "",
    title: str = "",
    tables: int = 1,
) -> bytes:
    """An OpenDocument file of a kind such as `text` whose body holds `body`; `more` are other members."""
    content = (
        f"<office:document-content {NAMESPACES}>{automatic}<office:body>{body}</office:body></office:document-content>"
    )
    members = {
        "mimetype": f"application/vnd.oasis.opendocument.{kind}".encode(),
        "content.xml": content.encode(),
        "meta.xml": META.format(ns=NAMESPACES, title=title, tables=tables).encode(),
        "META-INF/manifest.xml": f"<manifest:manifest {NAMESPACES}/>".encode(),
    }
    if styles:
        members["styles.xml"] = styles.format(ns=NAMESPACES).encode()
    return zip_bytes({**members, **more})


def samples() -> dict[str, bytes]:
    """The samples by their file names."""
    gauge = {"Pictures/gauge.png": picture_bytes()}
    formula = {"Object 1/content.xml": FORMULA.encode()}
    title = "Survey of the quay"
    return {
        "report.odt": package(
            "text", TEXT_BODY, {**gauge, **formula}, automatic=TEXT_AUTOMATIC, styles=TEXT_STYLES, title=title
        ),
        "table.ods": package("spreadsheet", SHEET_BODY, gauge, automatic=SHEET_AUTOMATIC, title="Berths", tables=2),
        "slides.odp": package("presentation", SLIDE_BODY, gauge, automatic=SLIDE_AUTOMATIC, styles=SLIDE_STYLES),
    }


if __name__ == "__main__":
    for name, data in samples().items():
        (HERE / name).write_bytes(data)
