"""What slides take over from their layouts and masters.

Where a placeholder stands, and whether its text has bullets.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from services.errors import UnreadableDocument
from services.formats.kit.xml import Element
from services.formats.office.markup import children, first, local, whole_number
from services.formats.office.package import OfficePackage

EMU_PER_POINT = 12_700
"""Source: ECMA-376 part 1, 20.1.2.1."""

TITLES = frozenset(("title", "ctrTitle"))
FOOTERS = frozenset(("ftr", "sldNum", "dt"))

_BODIES = frozenset(("body", "obj", "tbl", "chart", "dgm", "media", "clipArt", ""))
"""Placeholders that take the master's body style. Source: ECMA-376 part 1, 19.7.10; without a type, it is `obj`."""

Frame = tuple[float, float, float, float]
"""x, y, width, height in EMU."""


@dataclass(frozen=True, slots=True)
class Bullet:
    """A paragraph's bullet; neither flag set says that it has none."""

    shown: bool
    ordered: bool = False


@dataclass(slots=True)
class Inherited:
    """What one placeholder of a layout or master gives to a slide's."""

    frame: Frame | None = None
    bullets: Mapping[int, Bullet] = field(default_factory=dict)


@dataclass(slots=True)
class Layout:
    """The placeholders that a slide's layout and its master give, by index and by type."""

    by_index: dict[str, Inherited] = field(default_factory=dict)
    by_type: dict[str, Inherited] = field(default_factory=dict)
    body: Mapping[int, Bullet] = field(default_factory=dict)
    """Bullets of the master's body style, by level from 0."""

    def inherited(self, kind: str, index: str) -> Inherited:
        """What the placeholder of type `kind` with `index` takes over."""
        found = self.by_index.get(index) if index else None
        general = self.by_type.get("title" if kind in TITLES else "body" if kind in _BODIES else kind)
        frame = (found.frame if found else None) or (general.frame if general else None)
        bullets = dict(self.body) if kind in _BODIES else {}
        bullets.update(general.bullets if general else {})
        bullets.update(found.bullets if found else {})
        return Inherited(frame, bullets)


def read_layout(package: OfficePackage, slide_part: str) -> Layout:
    """The layout of a slide; what of it is missing or damaged gives nothing."""
    layout = Layout()
    try:
        for name in package.related(slide_part, "slideLayout")[:1]:
            for master in package.related(name, "slideMaster")[:1]:
                root = package.xml(master)
                layout.body = bullets_of(first(root, "txStyles", "bodyStyle"))
                for kind, _, inherited in _placeholders(root):
                    layout.by_type.setdefault(kind, inherited)
            for kind, index, inherited in _placeholders(package.xml(name)):
                if index:
                    layout.by_index.setdefault(index, inherited)
                if inherited.frame is not None:
                    layout.by_type[kind] = inherited
    except UnreadableDocument:
        return layout
    return layout


def _placeholders(root: Element | None) -> list[tuple[str, str, Inherited]]:
    found = []
    for shape in children(first(root, "cSld", "spTree")):
        placeholder = placeholder_of(shape)
        if placeholder is not None:
            kind, index = placeholder
            kind = "title" if kind in TITLES else "body" if kind in _BODIES else kind
            bullets = bullets_of(first(shape, "txBody", "lstStyle"))
            found.append((kind, index, Inherited(frame_of(first(shape, "spPr", "xfrm")), bullets)))
    return found


def placeholder_of(shape: Element) -> tuple[str, str] | None:
    """(type, index) of a shape that is a placeholder; the type is empty where the file names none."""
    holder = next((item for item in shape if local(item) in ("nvSpPr", "nvPicPr", "nvGraphicFramePr")), None)
    placeholder = first(holder, "nvPr", "ph")
    return None if placeholder is None else (placeholder.get("type") or "", placeholder.get("idx") or "")


def bullets_of(styles: Element | None) -> dict[int, Bullet]:
    """Bullets by level, from 0, of a list style such as `lstStyle` or `bodyStyle`."""
    found: dict[int, Bullet] = {}
    for item in children(styles):
        name = local(item)
        if name.startswith("lvl") and name.endswith("pPr"):
            bullet = bullet_of(item)
            if bullet is not None:
                found[whole_number(name[3:-3], 1) - 1] = bullet
    return found


def bullet_of(properties: Element | None) -> Bullet | None:
    """The bullet that a paragraph's properties set.

    None where they leave it to the style.
    """
    for item in children(properties):
        name = local(item)
        if name == "buNone":
            return Bullet(False)
        if name in ("buChar", "buBlip"):
            return Bullet(True)
        if name == "buAutoNum":
            return Bullet(True, ordered=True)
    return None


def frame_of(transform: Element | None) -> Frame | None:
    """Where a shape stands in its parent's coordinates, turned about its centre.

    None where the file does not say.
    """
    offset, extent = first(transform, "off"), first(transform, "ext")
    if transform is None or offset is None or extent is None:
        return None
    x, y = whole_number(offset.get("x")), whole_number(offset.get("y"))
    width, height = whole_number(extent.get("cx")), whole_number(extent.get("cy"))
    quarter = round(whole_number(transform.get("rot")) / 5_400_000)
    if quarter % 2:
        # Turned by about a quarter; smaller angles hardly change the box. Source: 60,000 units a degree, 20.1.10.3.
        x, y, width, height = x + (width - height) // 2, y + (height - width) // 2, height, width
    return float(x), float(y), float(width), float(height)
