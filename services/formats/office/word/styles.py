"""What styles and numbering say of a paragraph of a Word document.

Heading, quotation, list item, and its label.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from services.formats.kit.xml import Element
from services.formats.office.markup import attribute, first, is_property_on, level_number, name_of, value_of

_LEVEL_REFERENCE = re.compile(r"%([1-9])")
_MAX_STYLE_DEPTH = 20
_MAX_LABEL_CHARS = 255
"""Of the pattern of a list's label, which stands before each of its paragraphs; Word's own are some dozens."""

_ROMAN = ((1000, "m"), (900, "cm"), (500, "d"), (400, "cd"), (100, "c"), (90, "xc"), (50, "l"), (40, "xl"), (10, "x"),
          (9, "ix"), (5, "v"), (4, "iv"), (1, "i"))  # fmt: skip


@dataclass(slots=True)
class Style:
    """A paragraph style with what it inherits."""

    name: str = ""
    outline: int | None = None
    """0 to 8 for headings; 9 is body text."""
    numbering: tuple[str, int] | None = None
    """(numId, level)."""
    page_break_before: bool = False


@dataclass(slots=True)
class _Level:
    format: str = "decimal"
    text: str = ""
    start: int = 1


@dataclass(slots=True)
class _List:
    levels: dict[int, _Level] = field(default_factory=dict)
    abstract: str = ""


@dataclass(frozen=True, slots=True)
class Label:
    """The number or bullet before a paragraph."""

    level: int
    """From 0."""
    ordered: bool
    text: str
    """What Word shows, such as `2.1` or `(a)`; empty for a bullet."""
    is_plain: bool
    """True for `1.`, which a numbered list in Markdown shows by itself."""


def read_styles(root: Element | None) -> dict[str, Style]:
    """Paragraph styles by id, what they are based on worked in."""
    raw: dict[str, Element] = {}
    for item in root if root is not None else ():
        if name_of(item.tag) == "w:style" and attribute(item, "w:type") in ("paragraph", ""):
            raw[attribute(item, "w:styleId")] = item
    return {key: _resolve(key, raw) for key in raw}


def _resolve(key: str, raw: dict[str, Element]) -> Style:
    style = Style()
    broken = False
    for depth in range(_MAX_STYLE_DEPTH):
        item = raw.get(key)
        if item is None:
            break
        properties = first(item, "w:pPr")
        if depth == 0:
            style.name = (value_of(item, "w:name") or "").lower()
        if style.outline is None:
            style.outline = level_number(value_of(properties, "w:outlineLvl"))
        if style.numbering is None:
            style.numbering = numbering_of(properties)
        if not broken and first(properties, "w:pageBreakBefore") is not None:
            broken = True
            style.page_break_before = is_property_on(properties, "w:pageBreakBefore")
        key = value_of(item, "w:basedOn") or ""
    return style


def numbering_of(properties: Element | None) -> tuple[str, int] | None:
    """(numId, level) of paragraph properties."""
    found = first(properties, "w:numPr")
    if found is None:
        return None
    return value_of(found, "w:numId") or "", level_number(value_of(found, "w:ilvl")) or 0


class Numbering:
    """Counts the paragraphs of each list as they are met in order."""

    def __init__(self, root: Element | None) -> None:
        abstract: dict[str, dict[int, _Level]] = {}
        self._lists: dict[str, _List] = {}
        self._counts: dict[str, dict[int, int]] = {}
        for item in root if root is not None else ():
            if name_of(item.tag) == "w:abstractNum":
                abstract[attribute(item, "w:abstractNumId")] = _levels(item)
        for item in root if root is not None else ():
            if name_of(item.tag) != "w:num":
                continue
            key = value_of(item, "w:abstractNumId") or ""
            found = _List(dict(abstract.get(key, {})), key)
            for override in item:
                if name_of(override.tag) == "w:lvlOverride":
                    found.levels.update(_levels(override))
                    level = level_number(attribute(override, "w:ilvl")) or 0
                    start = level_number(value_of(override, "w:startOverride"))
                    if start is not None:
                        known = found.levels.get(level, _Level())
                        found.levels[level] = _Level(known.format, known.text, start)
                        found.abstract = f"{key}/{attribute(item, 'w:numId')}"
            self._lists[attribute(item, "w:numId")] = found

    def label(self, number_id: str, level: int) -> Label | None:
        """The label of the next paragraph of that list; None where the list says none."""
        found = self._lists.get(number_id)
        if found is None or not 0 <= level <= 8:
            return None
        kind = found.levels.get(level, _Level(text=f"%{level + 1}."))
        if kind.format == "none" and not kind.text:
            return None
        counts = self._counts.setdefault(found.abstract, {})
        counts[level] = counts.get(level, kind.start - 1) + 1
        for deeper in [key for key in counts if key > level]:
            del counts[deeper]
        if kind.format == "bullet":
            return Label(level, False, "", False)

        def show(match: re.Match[str]) -> str:
            at = int(match.group(1)) - 1
            of = found.levels.get(at, _Level())
            return _format(counts.get(at, of.start), of.format)

        text = _LEVEL_REFERENCE.sub(show, kind.text)
        return Label(level, True, text, kind.format == "decimal" and kind.text == f"%{level + 1}.")


def _levels(holder: Element) -> dict[int, _Level]:
    found = {}
    for item in holder:
        if name_of(item.tag) == "w:lvl":
            level = level_number(attribute(item, "w:ilvl")) or 0
            start = level_number(value_of(item, "w:start"))
            found[level] = _Level(
                value_of(item, "w:numFmt") or "decimal",
                (value_of(item, "w:lvlText") or "")[:_MAX_LABEL_CHARS],
                1 if start is None else start,
            )
    return found


def _format(number: int, kind: str) -> str:
    if kind in ("lowerLetter", "upperLetter") and 1 <= number <= 780:
        letter = chr(ord("a") + (number - 1) % 26) * ((number - 1) // 26 + 1)
        return letter.upper() if kind == "upperLetter" else letter
    if kind in ("lowerRoman", "upperRoman") and 1 <= number < 4000:
        roman = ""
        for value, sign in _ROMAN:
            roman += sign * (number // value)
            number %= value
        return roman.upper() if kind == "upperRoman" else roman
    return f"{number:02d}" if kind == "decimalZero" else str(number)
