"""What the styles of an OpenDocument file say.

Headings, breaks, what is hidden, lists, and the pages behind.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from services.content import BlockKind
from services.formats.kit.xml import Element
from services.formats.opendocument.package import attribute, name_of, points, qualified

_MAX_STYLE_DEPTH = 20
_KINDS = {
    "quotations": BlockKind.QUOTE,
    "preformatted text": BlockKind.CODE,
    "caption": BlockKind.CAPTION,
    "illustration": BlockKind.CAPTION,
    "figure": BlockKind.CAPTION,
    "drawing": BlockKind.CAPTION,
    "table": BlockKind.CAPTION,
}
"""Source: the names that LibreOffice writes for its built-in styles, in every language of its user."""


@dataclass(slots=True)
class ParagraphStyle:
    """A paragraph style with what it inherits."""

    kind: BlockKind = BlockKind.PARAGRAPH
    is_title: bool = False
    outline: int = 0
    """1 to 10 for headings; 0 for text."""
    breaks_page: bool = False
    master: str = ""
    """Name of the master page that begins with this paragraph; empty where it goes on."""
    hidden: bool = False
    list_style: str = ""


@dataclass(frozen=True, slots=True)
class MasterPage:
    """What stands on every page of a kind."""

    element: Element
    width: float
    """Points."""
    height: float
    """Points."""
    next: str


@dataclass(slots=True)
class Styles:
    """The styles of one part: the common ones and the part's own."""

    _styles: dict[tuple[str, str], Element] = field(default_factory=dict)
    _lists: dict[str, dict[int, bool]] = field(default_factory=dict)
    _layouts: dict[str, tuple[float, float]] = field(default_factory=dict)
    _known: dict[str, ParagraphStyle] = field(default_factory=dict)
    masters: dict[str, MasterPage] = field(default_factory=dict)

    def add(self, holders: Iterable[Element]) -> None:
        """Takes in the children of `office:styles` and `office:automatic-styles`.

        A later style wins.
        """
        for holder in holders:
            for item in holder:
                name = attribute(item, "style:name")
                match name_of(item.tag):
                    case "style:style":
                        self._styles[attribute(item, "style:family"), name] = item
                    case "text:list-style":
                        self._lists[name] = _levels(item)
                    case "style:page-layout":
                        for found in item.iter(qualified("style:page-layout-properties")):
                            size = (attribute(found, "fo:page-width"), attribute(found, "fo:page-height"))
                            self._layouts[name] = (points(size[0]), points(size[1]))
                    case "style:master-page":
                        width, height = self._layouts.get(attribute(item, "style:page-layout-name"), (0.0, 0.0))
                        follows = attribute(item, "style:next-style-name")
                        self.masters[name] = MasterPage(item, width, height, follows)
                    case _:
                        pass

    def paragraph(self, name: str) -> ParagraphStyle:
        """The paragraph style of that name, with what it is based on worked in."""
        known = self._known.get(name)
        if known is None:
            known = self._known[name] = self._resolve(name)
        return known

    def _resolve(self, name: str) -> ParagraphStyle:
        style = ParagraphStyle()
        current = name
        said: set[str] = set()
        for _ in range(_MAX_STYLE_DEPTH):
            item = self._styles.get(("paragraph", current))
            words = (attribute(item, "style:display-name") if item is not None else "") or current.replace("_20_", " ")
            if style.kind is BlockKind.PARAGRAPH:
                style.kind = _KINDS.get(words.lower(), BlockKind.PARAGRAPH)
            style.is_title = style.is_title or words.lower() == "title"
            if item is None:
                break
            outline = attribute(item, "style:default-outline-level")
            if "outline" not in said and outline.isdecimal():
                style.outline = int(outline[:3])
                said.add("outline")
            style.list_style = style.list_style or attribute(item, "style:list-style-name")
            if current == name:
                style.master = attribute(item, "style:master-page-name")
            for properties in item:
                before = attribute(properties, "fo:break-before")
                if before and "break" not in said:
                    style.breaks_page = before == "page"
                    said.add("break")
                display = attribute(properties, "text:display")
                if display and "display" not in said:
                    style.hidden = display == "none"
                    said.add("display")
            current = attribute(item, "style:parent-style-name")
            if not current:
                break
        return style

    def says(self, family: str, name: str, property_name: str) -> str:
        """What the style says of a property, such as `text:display`, itself or through what it is based on."""
        for _ in range(_MAX_STYLE_DEPTH):
            item = self._styles.get((family, name)) if name else None
            if item is None:
                return ""
            for properties in item:
                if value := attribute(properties, property_name):
                    return value
            name = attribute(item, "style:parent-style-name")
        return ""

    def is_ordered(self, list_style: str, level: int) -> bool:
        """True when that level (from 1) of the list style is numbered."""
        return self._lists.get(list_style, {}).get(level, False)

    def default_master(self) -> str:
        """The master page of a text that names none."""
        return "Standard" if "Standard" in self.masters else next(iter(self.masters), "")


def _levels(style: Element) -> dict[int, bool]:
    found: dict[int, bool] = {}
    for item in style:
        level = attribute(item, "text:level")
        if level.isdecimal():
            numbered = name_of(item.tag) == "text:list-level-style-number"
            found[int(level[:3])] = numbered and bool(attribute(item, "style:num-format"))
    return found


def style_holders(root: Element | None) -> list[Element]:
    """The elements of a part that hold styles, layouts before the master pages that name them."""
    names = ("office:styles", "office:automatic-styles", "office:master-styles")
    found = {name_of(item.tag): item for item in root} if root is not None else {}
    return [found[name] for name in names if name in found]
