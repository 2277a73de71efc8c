"""Reads OpenDocument presentations, a page a slide.

With its tables, pictures and speaker notes.
"""

from __future__ import annotations

from collections.abc import Iterator

from services.content import BlockKind, DocumentInfo, Page, Part, Upload
from services.formats.base import ExtractContext
from services.formats.kit.archive import Archive
from services.formats.kit.paging import check_page_count, give_pages, wants_pictures
from services.formats.kit.picture_writer import PictureWriter
from services.formats.kit.xml import Element
from services.formats.opendocument.blocks import BlockReader, Draft
from services.formats.opendocument.inline import SHAPES
from services.formats.opendocument.package import OdfPackage, attribute, name_of, qualified
from services.formats.opendocument.styles import Styles, style_holders
from services.formats.opendocument.text import write_pictures

_MARGINS = {"footer": BlockKind.PAGE_FOOTER, "header": BlockKind.PAGE_HEADER}
_FIELDS = ("date-time", "page-number", "header", "footer", "page", "handout", "title", "subtitle", "outline", "notes")
"""Classes of placeholders on a master page: they show what the slide says, not what the master does."""


def extract_odp(upload: Upload, context: ExtractContext) -> Iterator[Part]:
    """One page a slide, in points.

    Raises:
        UnreadableDocument: `corrupt_archive`, `corrupt_document`, `xml_entities`, `nesting_too_deep`.
        TooLarge: `archive_too_large`, `compression_ratio`, `too_many_entries`, `too_many_pages`.
        EncryptedDocument: `encryption_unsupported`.
    """
    with Archive(upload.path, context.limits) as archive:
        package = OdfPackage(archive, context.limits)
        info = package.info()
        root, body = package.content("office:presentation")
        slides = list(body.iterchildren(qualified("draw:page")))
        check_page_count(len(slides), context.limits)
        reader = SlideReader(package, root, body)
        title = info.title or next((text for slide in slides if (text := reader.title_of(slide))), "")
        yield DocumentInfo(title[:500], info.author, info.language, len(slides))
        yield from package.issues()
        writer = PictureWriter(context)
        for number, slide in enumerate(slides, 1):
            if number in context.known_pages:
                yield from give_pages([Page(number, "")], context)
                continue
            draft = reader.read_slide(slide, number)
            if wants_pictures(number, context):
                yield from write_pictures(package, draft.pictures, number, writer)
            yield from give_pages([draft.builder.build()], context)
        yield from writer.close()


class SlideReader:
    """Reads slides, one at a time."""

    def __init__(self, package: OdfPackage, root: Element, body: Element) -> None:
        around = style_holders(package.optional_xml("styles.xml"))
        styles, self._page_styles = Styles(), Styles()
        self._page_styles.add(around)
        styles.add([*(item for item in around if name_of(item.tag) == "office:styles"), *style_holders(root)])
        self._blocks = BlockReader(package, styles)
        self._declared = {
            (kind, attribute(item, "presentation:name")): "".join(item.itertext())
            for kind in _MARGINS
            for item in body.iterchildren(qualified(f"presentation:{kind}-decl"))
        }

    def title_of(self, slide: Element) -> str:
        """The text of the slide's title; empty without one."""
        for item in slide.iterchildren(qualified("draw:frame")):
            if attribute(item, "presentation:class") == "title":
                return " ".join("".join(item.itertext()).split())
        return ""

    def read_slide(self, slide: Element, number: int) -> Draft:
        """The slide as a page, its title first."""
        blocks = self._blocks
        master = self._page_styles.masters.get(attribute(slide, "draw:master-page-name"))
        blocks.drafts = blocks.drafts[-1:]
        draft = blocks.new_page(master.width if master else 0.0, master.height if master else 0.0)
        draft.builder.number = number
        style = attribute(slide, "draw:style-name")
        blocks.hidden = blocks.styles.says("drawing-page", style, "presentation:visibility") == "hidden"
        shapes = [item for item in slide if name_of(item.tag) in SHAPES]
        titles = [item for item in shapes if attribute(item, "presentation:class") == "title"]
        others = [item for item in shapes if attribute(item, "presentation:class") != "title"]
        for item in [*titles, *others]:
            self._read_shape(item)
        blocks.read_blocks([item for item in slide if name_of(item.tag) == "office:annotation"])
        blocks.end_page()
        for notes in slide.iterchildren(qualified("presentation:notes")):
            blocks.forced = BlockKind.SPEAKER_NOTE
            for item in notes:
                if name_of(item.tag) in SHAPES and attribute(item, "presentation:class") in ("notes", ""):
                    blocks.read_shape(item, 1)
            blocks.forced = None
        blocks.end_page()
        self._add_margins(slide, master.element if master else None)
        return draft

    def _read_shape(self, shape: Element) -> None:
        blocks = self._blocks
        placed = attribute(shape, "presentation:class")
        if attribute(shape, "presentation:placeholder") == "true" or placed in ("date-time", "page-number"):
            return
        if placed in _MARGINS:
            blocks.forced = _MARGINS[placed]
        elif placed in ("title", "subtitle"):
            blocks.forced, blocks.forced_level = BlockKind.HEADING, 1 if placed == "title" else 2
        blocks.read_shape(shape, 1)
        blocks.forced, blocks.forced_level = None, 0

    def _add_margins(self, slide: Element, master: Element | None) -> None:
        """Header and footer of the slide and what its master shows on every slide, each text once in the document."""
        blocks = self._blocks
        found: list[tuple[BlockKind, str]] = []
        for kind, block in _MARGINS.items():
            name = attribute(slide, f"presentation:use-{kind}-name")
            found.append((block, self._declared.get((kind, name), "")))
        if master is not None:
            styles, blocks.styles = blocks.styles, self._page_styles
            for item in master:
                is_shape = name_of(item.tag) in SHAPES
                if is_shape and attribute(item, "presentation:class") not in _FIELDS:
                    found.append((BlockKind.PAGE_FOOTER, blocks.capture([item])))
            blocks.styles = styles
        for block, text in found:
            blocks.add_margin(block, text, hidden=blocks.hidden)
