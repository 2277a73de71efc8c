"""Builds `reviewed.docx` beside this file: `python -m tests.data.build_docx`. Its words are the project's own.

Written part by part, since python-docx makes no changes, replies, notes or fields.
"""

from __future__ import annotations

from pathlib import Path

from tests.data.build_samples import picture_bytes, zip_bytes

HERE = Path(__file__).resolve().parent
_OOXML = "http://schemas.openxmlformats.org"
_OFFICE = f"{_OOXML}/officeDocument/2006"
NAMESPACES = (
    f'xmlns:w="{_OOXML}/wordprocessingml/2006/main" xmlns:r="{_OFFICE}/relationships" xmlns:m="{_OFFICE}/math" '
    f'xmlns:a="{_OOXML}/drawingml/2006/main" xmlns:wp="{_OOXML}/drawingml/2006/wordprocessingDrawing" '
    'xmlns:wps="http://schemas.microsoft.com/office/word/2010/wordprocessingShape" '
    'xmlns:w14="http://schemas.microsoft.com/office/word/2010/wordml" '
    'xmlns:w15="http://schemas.microsoft.com/office/word/2012/wordml"'
)
_RELATED = {
    "rStyles": ("styles", "styles.xml"), "rNotes": ("footnotes", "footnotes.xml"),
    "rRemarks": ("comments", "comments.xml"), "rReplies": ("commentsExtended", "commentsExtended.xml"),
    "rHead": ("header", "header1.xml"), "rFirst": ("header", "header2.xml"), "rFoot": ("footer", "footer1.xml"),
    "rGauge": ("image", "media/gauge.png"),
}  # fmt: skip


def run(text: str, properties: str = "") -> str:
    """A run of text."""
    return f'<w:r><w:rPr>{properties}</w:rPr><w:t xml:space="preserve">{text}</w:t></w:r>'


def picture(alt: str) -> str:
    """A drawing with the sample's picture."""
    return (
        f'<w:r><w:drawing><wp:inline><wp:docPr id="1" name="x" descr="{alt}"/><a:graphic><a:graphicData>'
        '<a:blip r:embed="rGauge"/></a:graphicData></a:graphic></wp:inline></w:drawing></w:r>'
    )


def field(code: str, shown: str) -> str:
    """A field with its code and what it shows."""
    return (
        '<w:r><w:fldChar w:fldCharType="begin"/></w:r>'
        f'<w:r><w:instrText>{code}</w:instrText></w:r><w:r><w:fldChar w:fldCharType="separate"/></w:r>'
        f'{run(shown)}<w:r><w:fldChar w:fldCharType="end"/></w:r>'
    )


BOX = (
    "<w:r><w:drawing><wp:anchor><a:graphic><a:graphicData><wps:wsp><wps:txbx><w:txbxContent><w:p>"
    + run("In a box.")
    + picture("")
    + "</w:p></w:txbxContent></wps:txbx></wps:wsp></a:graphicData></a:graphic></wp:anchor></w:drawing></w:r>"
)
FORMULA = (
    "<m:oMath><m:r><m:t>F=</m:t></m:r><m:f><m:num><m:r><m:t>m</m:t></m:r></m:num><m:den><m:sSup><m:e><m:r><m:t>a</m:t>"
    "</m:r></m:e><m:sup><m:r><m:t>2</m:t></m:r></m:sup></m:sSup></m:den></m:f><m:nary><m:naryPr><m:chr m:val='∑'/>"
    "</m:naryPr><m:sub><m:r><m:t>i=1</m:t></m:r></m:sub><m:sup><m:r><m:t>n</m:t></m:r></m:sup><m:e><m:d><m:e><m:r>"
    "<m:t>x+y</m:t></m:r></m:e></m:d></m:e></m:nary></m:oMath>"
)
INNER = f"<w:tbl><w:tr><w:tc><w:p>{run('a')}</w:p></w:tc><w:tc><w:p>{run('b')}</w:p></w:tc></w:tr></w:tbl>"
BODY = f"""<w:body>
<w:p><w:pPr><w:pStyle w:val="Heading1"/></w:pPr>{run("Review of the lease")}</w:p>
<w:p>{run("The rent is ")}<w:del w:author="Jo"><w:r><w:delText>400</w:delText></w:r></w:del>
<w:ins w:author="Jo">{run("450")}</w:ins>
{run(" euros.")}<w:r><w:commentReference w:id="1"/></w:r><w:r><w:footnoteReference w:id="2"/></w:r></w:p>
<w:p><w:moveFrom w:author="Ines">{run("Moved away.")}</w:moveFrom>{run("It stays.")}</w:p>
<w:p>{run("See ")}<w:hyperlink r:id="rLink">{run("the plan")}</w:hyperlink>{run(", ")}
<w:hyperlink w:anchor="end">{run("below")}</w:hyperlink>{run(" or ")}
{field(' HYPERLINK "mailto:jo@example.org" ', "write")}
{run(" on page ")}{field(" PAGE ", "1")}{run(".")}</w:p>
<w:p>{run("Not for print.", "<w:vanish/>")}</w:p>
<w:p>{picture("Gauge")}</w:p>
<w:p><w:pPr><w:pStyle w:val="Caption"/></w:pPr>{run("Figure ")}{field(" SEQ Figure ", "1")}{run(": The gauge")}</w:p>
<w:p>{run("Beside a box.")}{BOX}</w:p>
<w:p>{FORMULA}</w:p>
<w:tbl><w:tr><w:tc><w:p>{run("Outer")}</w:p></w:tc><w:tc>{INNER}<w:p/></w:tc></w:tr></w:tbl>
<w:p><w:moveTo w:author="Ines">{run("Moved here.")}</w:moveTo></w:p>
<w:sectPr><w:headerReference w:type="default" r:id="rHead"/><w:headerReference w:type="first" r:id="rFirst"/>
<w:footerReference w:type="default" r:id="rFoot"/><w:pgSz w:w="11906" w:h="16838"/></w:sectPr></w:body>"""

COMMENTS = "".join(
    f'<w:comment w:id="{key}" w:author="{author}"><w:p w14:paraId="0000000{key}">{run(text)}</w:p></w:comment>'
    for key, author, text in ((1, "Jo", "Is this right?"), (2, "Ines", "It is."), (3, "Jo", "Nobody points at me."))
)
STYLES = (
    '<w:style w:type="paragraph" w:styleId="Heading1"><w:name w:val="heading 1"/></w:style>'
    '<w:style w:type="paragraph" w:styleId="Caption"><w:name w:val="caption"/></w:style>'
)


def reviewed(**more: bytes) -> bytes:
    """The sample; `more` replaces its members or adds some."""
    space = f"{_OOXML}/package/2006/relationships"
    relations = "".join(
        f'<Relationship Id="{key}" Type="{_OFFICE}/relationships/{kind}" Target="{target}"/>'
        for key, (kind, target) in _RELATED.items()
    )
    external = f'<Relationship Id="rLink" Type="{_OFFICE}/relationships/hyperlink" Target="https://example.org/plan" '
    parts = {
        "word/document.xml": f"<w:document {NAMESPACES}>{BODY}</w:document>",
        "word/styles.xml": f"<w:styles {NAMESPACES}>{STYLES}</w:styles>",
        "word/comments.xml": f"<w:comments {NAMESPACES}>{COMMENTS}</w:comments>",
        "word/commentsExtended.xml": f'<w15:commentsEx {NAMESPACES}><w15:commentEx w15:paraId="00000002" '
        'w15:paraIdParent="00000001"/></w15:commentsEx>',
        "word/footnotes.xml": f'<w:footnotes {NAMESPACES}><w:footnote w:id="2"><w:p>{run("Without heating.")}</w:p>'
        "</w:footnote></w:footnotes>",
        "word/header1.xml": f"<w:hdr {NAMESPACES}><w:p>{run('Lease')}</w:p></w:hdr>",
        "word/header2.xml": f"<w:hdr {NAMESPACES}><w:p>{run('First page')}</w:p></w:hdr>",
        "word/footer1.xml": f"<w:ftr {NAMESPACES}><w:p>{run('Confidential')}</w:p></w:ftr>",
        "word/_rels/document.xml.rels": f'<Relationships xmlns="{space}">{relations}{external}TargetMode="External"/>'
        "</Relationships>",
        "_rels/.rels": f'<Relationships xmlns="{space}"><Relationship Id="r1" Type="{_OFFICE}/relationships/'
        'officeDocument" Target="word/document.xml"/></Relationships>',
        "[Content_Types].xml": f'<Types xmlns="{_OOXML}/package/2006/content-types"/>',
    }
    members = {name: text.encode() for name, text in parts.items()}
    return zip_bytes({**members, "word/media/gauge.png": picture_bytes(), **more})


if __name__ == "__main__":
    (HERE / "reviewed.docx").write_bytes(reviewed())
