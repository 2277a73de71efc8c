"""Finds tables by the alignment of their words.

Runs of lines whose phrases stand in columns, with guards against prose.

Source: the steps follow Nurminen, Algorithmic Extraction of Data in Tables in PDF Documents (Tampere, 2013): text edges
that several lines share make a table; and Kieninger's T-Recs (1998) for columns as blocks that no word crosses.
"""

from __future__ import annotations

import itertools
import math
import re
from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Iterator, Sequence

from services.content import Box
from services.formats.pdf.tables.cells import Grid, build_grid
from services.formats.pdf.tables.classify import is_table
from services.formats.pdf.tables.columns import Ruling, columns_under, cut_lines, find_columns
from services.formats.pdf.tables.ruled import holds
from services.formats.pdf.tables.words import PlacedWord, VisualLine, split_phrases, visual_lines

CAPTION_GAP = 4.5
"""Sizes of type from the last line of a caption to the first of its table."""

LINE_GAP, LONE_GAP = 3.2, 2.3
"""Sizes of type between two lines of a table, and where one of them has but a single phrase."""

MAX_TRIMMED = 8
"""Lines at either end of a run that are looked at for whether they belong to the table; the others are taken to."""

MAX_LONE = 4
"""Lines of a single phrase that may follow each other inside a table that no frame holds together."""

_TABLE = r"table|tabelle|tab\.|tableau|tabla|tabella|tabela|tabel|taulukko|tabuľka|táblázat"
_FIGURE = r"figure|fig\.|figura|abbildung|abb\.|chart|graph|exhibit"
_SOURCE = r"sources?|quellen?|fonte|fuente|bron|lähde|notes?|anmerkung(?:en)?"
_NUMBERED = r"\s?[A-Z]{0,3}[.\-]?(?:\d|[IVX]+\b)"
_TABLE_CAPTION = re.compile(f"(?:{_TABLE}){_NUMBERED}", re.IGNORECASE)
_CAPTION = re.compile(f"(?:{_TABLE}|{_FIGURE}){_NUMBERED}|(?:{_SOURCE})\\s?:", re.IGNORECASE)
"""How captions and the notes under a table begin; neither is a part of it."""


def find_aligned(words: Sequence[PlacedWord], prose: set[int], ruling: Ruling, frames: Sequence[Box]) -> list[Grid]:
    """The tables among `words`.

    `prose` are line indices of running text, which ends a table but inside of `frames`.
    """
    frames = [f for f in frames if _worth(f, words, prose)]
    prose = prose - _captions(words)
    framed = {id(w): index for index, f in enumerate(frames) for w in words if holds(_grown(f), w.box)}
    free = [w for w in words if w.line not in prose or id(w) in framed]
    walls = sorted((w.baseline, w.box[0], w.box[2]) for w in words if w.line in prose and id(w) not in framed)
    grids: list[Grid] = []
    lines = visual_lines(free)
    for line in lines:
        line.phrases = split_phrases(line.words, ruling.bars(line))
    for run, captioned in _runs(lines, walls, framed):
        grid = _table_of(run, ruling, frames, framed, captioned=captioned)
        if grid is not None:
            grids.append(grid)
    return grids


def _grown(frame: Box) -> Box:
    return (frame[0] - 4, frame[1] - 1, frame[2] + 4, frame[3] + 1)


def _worth(frame: Box, words: Sequence[PlacedWord], prose: set[int]) -> bool:
    """True where `frame` holds words, running text for the smaller part."""
    inside = [w for w in words if holds(frame, w.box)]
    return len(inside) >= 4 and sum(w.line in prose for w in inside) < 0.5 * len(inside)


def _captions(words: Sequence[PlacedWord]) -> set[int]:
    """Indices of the lines that begin as captions of tables do.

    Long ones look like running text.
    """
    found: set[int] = set()
    for line, group in itertools.groupby(words, key=lambda w: w.line):
        if _TABLE_CAPTION.match(" ".join(w.text for w in itertools.islice(group, 3))):
            found.add(line)
    return found


def _frame_of(line: VisualLine, framed: dict[int, int]) -> int:
    votes = Counter(framed.get(id(w), -1) for w in line.words)
    return votes.most_common(1)[0][0]


def _runs(
    lines: Sequence[VisualLine], walls: Sequence[tuple[float, float, float]], framed: dict[int, int]
) -> Iterator[tuple[list[VisualLine], bool]]:
    """(lines that may make one table: near each other, with no running text between; a caption stands above them)."""
    heights = [wall[0] for wall in walls]
    run: list[VisualLine] = []
    lone = 0
    frame = -1
    caption: VisualLine | None = None
    captioned, announced = False, -math.inf
    for line in lines:
        if not line.phrases:
            continue
        here = _frame_of(line, framed)
        if run:
            last = run[-1]
            step = (line.baseline - last.baseline) / max(1.0, min(line.size, last.size))
            single = min(len(line.phrases), len(last.phrases)) < 2
            apart = step > (LONE_GAP if single else LINE_GAP)
            between = walls[bisect_right(heights, last.baseline - 1) : bisect_left(heights, line.baseline + 1)]
            cut = any(min(x1, max(last.x1, line.x1)) > max(x0, min(last.x0, line.x0)) for _, x0, x1 in between)
            if here == frame != -1:
                apart = cut = False
            elif here != -1 and frame != -1:
                apart = True
            if apart or cut or (lone >= MAX_LONE and here == -1):
                yield run, captioned
                run, lone, captioned = [], 0, False
        if _CAPTION.match(line.phrases[0].text):
            if run:
                yield run, captioned
            run, lone, caption, captioned = [], 0, line, False
            announced = line.baseline if _TABLE_CAPTION.match(line.phrases[0].text) else -math.inf
            continue
        if caption is not None:
            if here == -1 and _captions_on(caption, line):
                caption.baseline = line.baseline
                announced = max(announced, line.baseline) if announced > -math.inf else announced
                continue
            caption = None
        if not run:
            captioned = line.baseline - announced < CAPTION_GAP * line.size
        run.append(line)
        lone = lone + 1 if len(line.phrases) < 2 and here == -1 else 0
        frame = here
    if run:
        yield run, captioned


def _captions_on(caption: VisualLine, line: VisualLine) -> bool:
    """True where `line` is the next line of a caption: shortly below, and begun where the caption's text begins."""
    if line.baseline - caption.baseline > 1.5 * caption.size or len(line.phrases) > 1:
        return False
    return any(abs(line.x0 - phrase.x0) < 0.5 * line.size for phrase in caption.phrases)


def _table_of(
    run: list[VisualLine], ruling: Ruling, frames: Sequence[Box], framed: dict[int, int], *, captioned: bool
) -> Grid | None:
    """The table that `run` holds, or None."""
    frame = next((index for line in run if (index := _frame_of(line, framed)) != -1), -1)
    inside = [_frame_of(line, framed) != -1 for line in run]
    if sum(len(line.phrases) >= 2 for line in run) < 2:
        return None
    ruling = ruling.around(run[0].top - 14, run[-1].bottom + 14)
    cut_lines(run, ruling)
    first, last = 0, len(run)
    while (
        first < min(last, MAX_TRIMMED) and not inside[first] and not _belongs(run[first], run[first:last], heading=True)
    ):
        first += 1
    while (
        last > max(first, len(run) - MAX_TRIMMED)
        and not inside[last - 1]
        and not _belongs(run[last - 1], run[first:last], heading=False)
    ):
        last -= 1
    lines = run[first:last]
    if len(lines) < 2 or not is_table(lines, ruling, frames[frame] if frame != -1 else None, captioned=captioned):
        return None
    grid = build_grid(lines, ruling)
    return grid if len(grid.cells) >= 2 and len(grid.columns) >= 2 else None


def _belongs(line: VisualLine, run: Sequence[VisualLine], *, heading: bool) -> bool:
    """True where the first or last line of `run` is a part of the table."""
    rest = [other for other in run if other is not line and len(other.phrases) >= 2]
    if not rest:
        return False
    if _CAPTION.match(line.phrases[0].text):
        return False
    columns = find_columns(rest)
    if len(columns) < 2:
        return False
    neighbour = run[1] if heading else run[-2]
    step = abs(neighbour.baseline - line.baseline) / max(1.0, line.size)
    if len(line.phrases) == 1:
        phrase = line.phrases[0]
        over = columns_under(phrase, columns)
        if heading:
            return step < 2.0 and bool(over) and over[0] > 0 and phrase.x1 < columns[-1][1] + 2 * line.size
        return step < 1.5 and len(over) == 1 and (over[0] > 0 or phrase.text[:1].islower())
    wordy = any(len(columns_under(p, columns)) >= 2 and len(p.words) >= 5 for p in line.phrases)
    return not wordy or len(line.phrases) > 2
