"""Tells headings, captions, footnotes and code of a PDF page.

Also how deep list items lie.
"""

from __future__ import annotations

import re
import statistics
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from services.content import BlockKind, Box
from services.formats.pdf.captions import is_caption
from services.formats.pdf.tags import title_key
from services.formats.pdf.text import TextLine
from services.ocr.layout import LooseBlock, LooseWord, list_marker, union

HEADING_RATIOS = ((1.8, 1), (1.4, 2), (1.15, 3))
"""Size of type relative to the body text, and the level of a heading of at least that size."""

BOLD_LEVEL = 4
MAX_COLON_CHARS = 60
MAX_HEADING_CHARS, MAX_HEADING_LINES = 200, 3

NOTE_RATIO = 0.93
"""Footnotes are set smaller than the body. Source: 8 to 9 points under 10 to 11 in LaTeX, Word and LibreOffice."""

_NOTE = re.compile(r"(?:\d{1,3}|[*∗†‡§¶]{1,3}|[a-z][.)])(?:\s?\S)")
_CODE_SIGNS = frozenset("(){}[];=<>$#\\")
_NUMBER_START = re.compile(r"(\d{1,3})(?!\d)")


@dataclass(frozen=True, slots=True)
class PageFacts:
    """What is known of a page before its blocks are told apart."""

    width: float
    height: float
    body: float = 10.0
    """Size of the type that most of the text around is set in."""
    mostly_bold: bool = False
    mostly_monospaced: bool = False
    quarter: int = 0
    """The direction, as `TextLine.quarter`, in which most of the page is written."""
    titles: Mapping[str, int] = field(default_factory=dict)
    """Levels of the bookmarks that lead to this page, by `title_key`."""


def weigh_sizes(lines: Iterable[TextLine]) -> Counter[float]:
    """Letters by size of type, in halves of a point."""
    sizes: Counter[float] = Counter()
    for line in lines:
        sizes[round(line.size * 2) / 2] += sum(len(word.text) for word in line.words)
    return sizes


def main_quarter(lines: Iterable[TextLine]) -> int:
    """The direction of writing that most letters share."""
    letters: Counter[int] = Counter()
    for line in lines:
        letters[line.quarter] += sum(len(word.text) for word in line.words)
    return letters.most_common(1)[0][0] if letters else 0


def share_of(lines: Sequence[TextLine], *, monospaced: bool = False) -> float:
    """Share of the letters, 0 to 1, that are bold, or monospaced."""
    total = hits = 0
    for line in lines:
        letters = sum(len(word.text) for word in line.words)
        total += letters
        hits += letters if (line.monospaced if monospaced else line.bold) else 0
    return hits / total if total else 0.0


def tell_kinds(blocks: Sequence[LooseBlock], facts: PageFacts) -> list[LooseBlock]:
    """`blocks` with their kinds and levels.

    Neighbouring lines of code become one block, joined footnotes several.
    """
    told: list[LooseBlock] = []
    for block in blocks:
        if block.cells or not block.lines:
            told.append(block)
            continue
        for part in _told(block, facts):
            if told and (_is_one_listing(told[-1], part) or _is_one_heading(told[-1], part)):
                told[-1].lines.extend(part.lines)
            else:
                told.append(part)
    _head_with_colons(told, facts)
    _notes_below(told, facts)
    told = [part for block in told for part in (_single_notes(block) if block.kind is BlockKind.FOOTNOTE else [block])]
    _nest_lists(told)
    return told


def _told(block: LooseBlock, facts: PageFacts) -> list[LooseBlock]:
    lines = [line for line in block.lines if isinstance(line, TextLine)]
    if not lines:
        return [block]
    first = lines[0]
    text = " ".join(line.text for line in lines)
    block.ordered, block.level = False, 0
    role = first.role
    level = _heading_level(lines, text, role, facts)
    marked, numbered = list_marker(first)
    if level:
        block.kind, block.level = BlockKind.HEADING, level
    elif _is_code(lines, role, facts):
        block.kind = BlockKind.CODE
    elif role == "Caption" or is_caption(text):
        block.kind = BlockKind.CAPTION
    elif role == "Note":
        block.kind = BlockKind.FOOTNOTE
    elif marked:
        block.kind, block.level, block.ordered = BlockKind.LIST_ITEM, 1, numbered
    else:
        block.kind = BlockKind.PARAGRAPH
    return [block]


def _heading_level(lines: Sequence[TextLine], text: str, role: str, facts: PageFacts) -> int:
    """1 to 6 for a heading, else 0: by the bookmarks, by the file's own tags, by the size and weight of the type."""
    if len(text) > MAX_HEADING_CHARS or not any(c.isalpha() for c in text) or lines[0].quarter != facts.quarter:
        return 0
    ratio = statistics.median(line.size for line in lines) / facts.body
    titled = facts.titles.get(title_key(text), 0)
    if titled and ratio >= 0.9:
        return min(titled, 6)
    if role.startswith("H") and len(lines) <= MAX_HEADING_LINES:
        return int(role[1])
    if len(lines) > MAX_HEADING_LINES or is_caption(text) or list_marker(lines[0]) == (True, False):
        return 0
    for least, level in HEADING_RATIOS:
        if ratio >= least:
            return level
    first = lines[0]
    one_line = len(lines) == 1 and 3 <= len(text) <= 100 and text[-1] not in ".,;:"
    is_bold = first.bold and not facts.mostly_bold and ratio >= 0.95 and text[0].isalnum()
    return BOLD_LEVEL if one_line and is_bold else 0


def _head_with_colons(blocks: Sequence[LooseBlock], facts: PageFacts) -> None:
    """Makes headings of bold lines that end with a colon, stand alone, and have text or a table in other type below."""
    if facts.mostly_bold:
        return
    boxes = [union([line.box for line in b.lines]) if b.lines and not b.cells else b.box for b in blocks]
    for block, following, box, below in zip(blocks, blocks[1:], boxes, boxes[1:], strict=False):
        line = block.lines[0] if block.lines else None
        if block.kind is not BlockKind.PARAGRAPH or len(block.lines) != 1 or not isinstance(line, TextLine):
            continue
        text = line.text
        if not (line.bold and text[-1] == ":" and 3 <= len(text) <= MAX_COLON_CHARS and text[0].isalnum()):
            continue
        if box is None or below is None or line.quarter != 0 or line.size < 0.95 * facts.body:
            continue
        is_over = -0.2 * line.size <= below[1] - box[3] < 3 * line.size and _beside(box, below)
        plain = following.cells or not all(part.bold for part in following.lines)
        at_height = sum(o is not None and min(o[3], box[3]) - max(o[1], box[1]) > 0.3 * line.size for o in boxes)
        if is_over and plain and following.kind is not BlockKind.HEADING and at_height == 1:
            block.kind, block.level = BlockKind.HEADING, BOLD_LEVEL


def _is_code(lines: Sequence[TextLine], role: str, facts: PageFacts) -> bool:
    if facts.mostly_monospaced:
        return False
    if role == "Code":
        return True
    if not all(line.monospaced and line.quarter == 0 for line in lines):
        return False
    # An address or a name set in such type is no program.
    return len(lines) > 1 or any(c in _CODE_SIGNS for c in lines[0].text)


def _is_one_listing(before: LooseBlock, block: LooseBlock) -> bool:
    """True where the code of `block` goes on with that of `before`, an empty line between them at most."""
    if before.kind is not BlockKind.CODE or block.kind is not BlockKind.CODE:
        return False
    last, first = before.lines[-1], block.lines[0]
    step = first.box[1] - last.box[3]
    return -0.2 * last.size <= step <= 2.2 * last.size


def _is_one_heading(before: LooseBlock, block: LooseBlock) -> bool:
    """True where two headings are the lines of one: of the same type, the second close below and without a number."""
    if before.kind is not BlockKind.HEADING or block.kind is not BlockKind.HEADING or before.level != block.level:
        return False
    last, first = before.lines[-1], block.lines[0]
    if not isinstance(last, TextLine) or not isinstance(first, TextLine):
        return False
    same = abs(last.size - first.size) < 0.05 * first.size and last.bold == first.bold and last.quarter == first.quarter
    near = -0.2 * first.size < first.box[1] - last.box[3] < 0.6 * first.size and _beside(last.box, first.box)
    same = same and (last.font == first.font or not (last.font and first.font))
    is_full = len(before.lines) + len(block.lines) > MAX_HEADING_LINES
    return same and near and not is_full and not first.text[0].isdigit() and last.text[-1] not in ".:!?"


def _notes_below(blocks: Sequence[LooseBlock], facts: PageFacts) -> None:
    """Marks as footnotes the small blocks with a number or a sign before them that end a column."""
    boxes: list[Box | None] = [
        union([line.box for line in b.lines]) if b.lines and not b.cells else b.box for b in blocks
    ]
    for index, block in enumerate(blocks):
        box = boxes[index]
        if box is None or block.cells or block.kind not in (BlockKind.PARAGRAPH, BlockKind.LIST_ITEM):
            continue
        if box[1] < 0.45 * facts.height or not _is_small(block, facts):
            continue
        follows_note = index > 0 and blocks[index - 1].kind is BlockKind.FOOTNOTE
        if not (_NOTE.match(block.lines[0].text) or (follows_note and _adjoins(boxes[index - 1], box))):
            continue
        below = (
            i for i, other in enumerate(boxes) if other is not None and other[1] >= box[3] - 1 and _beside(other, box)
        )
        if all(not blocks[i].cells and (_is_small(blocks[i], facts)) for i in below):
            block.kind, block.level, block.ordered = BlockKind.FOOTNOTE, 0, False


def _is_small(block: LooseBlock, facts: PageFacts) -> bool:
    return bool(block.lines) and statistics.median(line.size for line in block.lines) <= NOTE_RATIO * facts.body


def _adjoins(above: Box | None, box: Box) -> bool:
    return above is not None and abs(box[1] - above[3]) < 6 and _beside(above, box)


def _beside(a: Box, b: Box) -> bool:
    return min(a[2], b[2]) > max(a[0], b[0])


def _single_notes(block: LooseBlock) -> list[LooseBlock]:
    """Footnotes that were taken for one paragraph, parted where the next number begins a line."""
    parts = [replace(block, lines=[block.lines[0]])]
    number = _leading_number(block.lines[0].words)
    for line in block.lines[1:]:
        found = _leading_number(line.words)
        if found is not None and found == (number or 0) + 1:
            number = found
            parts.append(replace(block, lines=[line]))
        else:
            parts[-1].lines.append(line)
    return parts


def _leading_number(words: Sequence[LooseWord]) -> int | None:
    match = _NUMBER_START.match(words[0].text) if words else None
    return int(match[1]) if match else None


def _nest_lists(blocks: Sequence[LooseBlock]) -> None:
    """Gives the items of a list that goes on without a break their level by the indent of their markers."""
    indents: list[float] = []
    for block in blocks:
        if block.kind is not BlockKind.LIST_ITEM:
            if block.kind is not BlockKind.PARAGRAPH or not indents or block.lines[0].box[0] < indents[-1] + 4:
                indents = []
            continue
        line = block.lines[0]
        left, near = line.box[0], 0.6 * line.size
        while indents and left < indents[-1] - near:
            indents.pop()
        if not indents or left > indents[-1] + near:
            indents.append(left)
        block.level = min(len(indents), 9)
