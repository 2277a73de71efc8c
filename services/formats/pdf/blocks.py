"""Lines of a PDF page into blocks of those that belong together."""

from __future__ import annotations

import itertools
import statistics
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

from services.content import BlockKind, Box
from services.formats.pdf.captions import starts_caption
from services.formats.pdf.geometry import canonical
from services.formats.pdf.text import TextLine
from services.ocr.layout import Line, LooseBlock, list_marker, union

RAISED_RATIO, MAX_RAISED_CHARS = 0.85, 12
"""Size of exponents, indices and note marks relative to their line, and letters that they have at most."""


@dataclass(slots=True)
class _Placed:
    """A line with its canonical box."""

    line: TextLine
    box: Box


def build_blocks(lines: Sequence[TextLine]) -> list[LooseBlock]:
    """Paragraphs and list items out of lines in reading order."""
    apart = [part for line in lines for part in _captions_apart(line)]
    placed = _in_order([_Placed(line, canonical(line.box, line.quarter)) for line in apart])
    placed = _merge_rows(placed)
    if not placed:
        return []
    sizes: Counter[float] = Counter()
    for p in placed:
        sizes[round(p.line.size * 2) / 2] += len(p.line.text)
    body = sizes.most_common(1)[0][0] or 1.0
    pitches = [
        b.line.baseline - a.line.baseline
        for a, b in itertools.pairwise(placed)
        if a.line.quarter == b.line.quarter
        and 0.6 * body < b.line.baseline - a.line.baseline < 2.6 * body
        and _overlaps(a.box, b.box)
    ]
    pitch = statistics.median(pitches) if pitches else 1.2 * body
    groups: list[list[_Placed]] = []
    for p in placed:
        if groups and _continues(groups[-1], p, pitch):
            groups[-1].append(p)
        else:
            groups.append([p])
    return [_block(group) for group in groups]


def _captions_apart(line: TextLine) -> list[TextLine]:
    """`line` cut before a caption that stands on it beside another."""
    for at, (a, b) in enumerate(itertools.pairwise(line.words), 1):
        if b.box[0] - a.box[2] > line.size and starts_caption(" ".join(word.text for word in line.words[at : at + 4])):
            return [replace(line, words=line.words[:at]), replace(line, words=line.words[at:])]
    return [line]


def _in_order(placed: list[_Placed]) -> list[_Placed]:
    """`placed` with lines that stand upright put in order: PDFium gives some of them from the last to the first."""
    ordered: list[_Placed] = []
    for quarter, run in itertools.groupby(placed, key=lambda p: p.line.quarter):
        lines = list(run)
        if quarter:
            steps = [b.line.baseline - a.line.baseline for a, b in itertools.pairwise(lines)]
            if sum(step < 0 for step in steps) > 0.8 * len(steps):
                lines.reverse()
        ordered.extend(lines)
    return ordered


def _overlaps(a: Box, b: Box) -> bool:
    """True where the horizontal extents share anything."""
    return min(a[2], b[2]) > max(a[0], b[0])


def _merge_rows(placed: list[_Placed]) -> list[_Placed]:
    """Neighbours that stand on the same baseline, the second shortly right of the first, as one line."""
    merged: list[_Placed] = []
    for p in placed:
        last = merged[-1] if merged else None
        if (
            last is not None
            and last.line.quarter == p.line.quarter
            and (_shares_baseline(last, p) or _is_raised(last, p))
            and not starts_caption(p.line.text)
        ):
            gap = p.box[0] - last.box[2]
            p.line.words[0].joined = gap < 0.12 * min(last.line.size, p.line.size) and p.line.words[0].text[0].isalnum()
            last.line.words.extend(p.line.words)
            last.box = union([last.box, p.box])
            if p.line.size > last.line.size:
                last.line.size, last.line.baseline = p.line.size, p.line.baseline
        else:
            merged.append(p)
    return merged


def _shares_baseline(last: _Placed, p: _Placed) -> bool:
    """True where `p` stands on the baseline of `last`, shortly right of it."""
    near = -0.5 * p.line.size < p.box[0] - last.box[2] < 3 * p.line.size
    return near and abs(last.line.baseline - p.line.baseline) < 0.25 * min(last.line.size, p.line.size)


def _is_raised(last: _Placed, p: _Placed) -> bool:
    """True where one of the two is a raised or lowered figure that adjoins the other."""
    small, large = (p, last) if p.line.size < last.line.size else (last, p)
    if small.line.size > RAISED_RATIO * large.line.size or len(small.line.text) > MAX_RAISED_CHARS:
        return False
    if not -1.2 * small.line.size < p.box[0] - last.box[2] < 0.6 * large.line.size:
        return False
    shared = min(small.box[3], large.box[3]) - max(small.box[1], large.box[1])
    return shared > 0.3 * (small.box[3] - small.box[1])


def _continues(group: list[_Placed], p: _Placed, pitch: float) -> bool:
    """True where line `p` goes on with the paragraph `group`."""
    last = group[-1]
    small, large = sorted((last.line.size, p.line.size))
    if (
        last.line.quarter != p.line.quarter
        or large > 1.2 * max(small, 0.1)
        or last.line.bold != p.line.bold
        or last.line.role != p.line.role
    ):
        return False
    if last.line.monospaced != p.line.monospaced and not _shares_row(last, p):
        return False
    if starts_caption(p.line.text) or _is_run_in_title(group, p):
        return False
    step = p.line.baseline - last.line.baseline
    if step < -0.3 * large or step > max(1.35 * pitch, 1.0 * large):
        return False
    if not _overlaps(union([group[0].box, last.box]), p.box):
        return False
    if list_marker(p.line)[0]:
        # A dash or "a." at the start of a line may be prose; at the left edge of the item before it is none.
        return False
    indent = p.box[0] - last.box[0]
    starts_anew = 0.7 * large < indent < 5 * large and not list_marker(group[0].line)[0]
    return not (starts_anew and last.line.text.rstrip()[-1:] in ".:!?”\"'" and len(group) > 0)


def _is_run_in_title(group: list[_Placed], p: _Placed) -> bool:
    """True where the only line so far is short, ends without a stop, and is set in another font than `p` below it."""
    title = group[0]
    if len(group) > 1 or not (title.line.font and p.line.font) or title.line.font == p.line.font:
        return False
    is_short = title.box[2] - title.box[0] < 0.75 * (p.box[2] - p.box[0])
    return is_short and title.line.text[-1] not in ".,;:-–" and p.line.text[0].isupper()


def _shares_row(a: _Placed, b: _Placed) -> bool:
    return abs(a.line.baseline - b.line.baseline) < 0.25 * b.line.size


def _block(group: list[_Placed]) -> LooseBlock:
    lines: list[Line] = [p.line for p in group]
    block = LooseBlock(BlockKind.PARAGRAPH, lines, upright=group[0].line.quarter == 0)
    marked, numbered = list_marker(group[0].line)
    if marked:
        block.kind, block.level, block.ordered = BlockKind.LIST_ITEM, 1, numbered
    return block
