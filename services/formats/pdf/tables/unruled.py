"""Tables by the alignment of their words: runs of lines whose phrases stand in columns, with guards against prose.

Source: the steps follow Nurminen, Algorithmic Extraction of Data in Tables in PDF Documents (Tampere, 2013): text edges
that several lines share make a table; and Kieninger's T-Recs (1998) for columns as blocks that no word crosses.
"""

from __future__ import annotations

import itertools
import math
import re
import statistics
from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Iterator, Sequence

from services.content import Box
from services.formats.pdf.tables.cells import Grid, build_grid
from services.formats.pdf.tables.columns import Ruling, column_of, columns_under, cut_lines, find_columns
from services.formats.pdf.tables.ruled import holds
from services.formats.pdf.tables.words import Phrase, PlacedWord, VisualLine, split_phrases, visual_lines
from services.ocr.layout import Line, list_marker

MAX_CELL_WORDS = 8
"""Words of a phrase, in the mean, up to which a caption above is believed."""

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

_SECTION = re.compile(r"\d{1,2}(?:\.\d{1,2})*\.?")
_BULLETS = frozenset("•◦▪▫‣●○■□➢➤✓✔")


def find_aligned(words: Sequence[PlacedWord], prose: set[int], ruling: Ruling, frames: Sequence[Box]) -> list[Grid]:
    """The tables among `words`. `prose` are line indices of running text, which ends a table but inside of `frames`."""
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
    """Indices of the lines that begin as captions of tables do; long ones look like running text."""
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
    if len(lines) < 2 or not _is_table(lines, ruling, frames[frame] if frame != -1 else None, captioned=captioned):
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


def _is_table(lines: Sequence[VisualLine], ruling: Ruling, frame: Box | None, *, captioned: bool) -> bool:
    """True where the phrases of `lines` stand in columns as those of tables do, and not as those of other matter."""
    columns = find_columns(lines)
    core = [line for line in lines if len(line.phrases) >= 2]
    if len(columns) < 2 or len(core) < 2 or len(core) < 0.4 * len(lines):
        return False
    phrases = [p for line in core for p in line.phrases]
    by_column: dict[int, list[Phrase]] = {}
    for p in phrases:
        by_column.setdefault(column_of(p, columns), []).append(p)
    numbers = [p for c, ps in by_column.items() if c for p in ps]
    numeric = sum(p.is_number for p in numbers) / max(1, len(numbers))
    words = statistics.fmean(len(p.words) for p in phrases)
    fill = len(phrases) / (len(core) * len(columns))
    x0, x1 = min(line.x0 for line in lines), max(line.x1 for line in lines)
    across = sum(
        box[2] - box[0] >= 0.6 * (x1 - x0) and box[0] < x1 and box[2] > x0
        and lines[0].top - 12 <= box[1] <= lines[-1].bottom + 12
        for box in ruling.level
    )  # fmt: skip
    if _is_contents(core, by_column) or _is_list(core) or _is_flowing(core, by_column):
        return False
    if _is_formula(lines, phrases) or _is_numbered(core, numeric, fill):
        return False
    aligned = statistics.fmean(_alignment(ps) for ps in by_column.values())
    strong = across >= 3 or (frame is not None and _is_divided(frame, ruling))
    if strong:
        full = sum(len(line.phrases) >= min(0.5 * len(columns), 4) for line in core)
        if len(core) < 3 and numeric < 0.5:
            return False
        return aligned >= 0.4 and fill >= 0.25 and words <= 12 and full >= max(2, 0.3 * len(core))
    if captioned and aligned >= 0.5 and fill >= 0.3 and words <= MAX_CELL_WORDS:
        return True
    if len(core) < 3 or _is_form(core):
        return False
    if len(columns) == 2:
        return numeric >= 0.6 and aligned >= 0.6 and len(core) >= (3 if across >= 2 else 4)
    if numeric >= 0.5:
        return aligned >= 0.5 and fill >= 0.4
    return aligned >= 0.7 and fill >= 0.5 and words <= 4 and len(core) >= 4


def _is_divided(frame: Box, ruling: Ruling) -> bool:
    """True where level lines in `frame` part its rows, or upright ones its columns: it is no mere box around text."""
    wide, margin = frame[2] - frame[0], 4.0
    level = sum(
        frame[1] + margin < b[1] < frame[3] - margin and min(b[2], frame[2]) - max(b[0], frame[0]) >= 0.5 * wide
        for b in ruling.level
    )
    upright = sum(
        frame[0] + margin < b[0] < frame[2] - margin
        and min(b[3], frame[3]) - max(b[1], frame[1]) >= 0.3 * (frame[3] - frame[1])
        for b in ruling.upright
    )
    return level + upright >= 1


def _is_flowing(core: Sequence[VisualLine], by_column: dict[int, list[Phrase]]) -> bool:
    """True for columns of running text: their lines go on where the line before stopped, in the first column too."""
    if len(core) < 3:
        return False
    low = {
        c: sum(p.text[:1].islower() for p in ps) / len(ps) for c, ps in by_column.items() if len(ps) >= 0.4 * len(core)
    }
    wordy = statistics.fmean(len(p.words) for c in low for p in by_column[c]) if low else 0.0
    return len(low) >= 2 and wordy >= 2.5 and min(low.values()) >= 0.35


def _alignment(phrases: Sequence[Phrase]) -> float:
    """Share of `phrases` that agree in their left edge, their right edge or their middle."""
    if len(phrases) < 2:
        return 1.0
    tolerance = 0.35 * statistics.median(p.size for p in phrases)
    best = 0
    for edge in ([p.x0 for p in phrases], [p.x1 for p in phrases], [(p.x0 + p.x1) / 2 for p in phrases]):
        ordered = sorted(edge)
        start = 0
        for end, value in enumerate(ordered):
            while value - ordered[start] > 2 * tolerance:
                start += 1
            best = max(best, end - start + 1)
    return best / len(phrases)


def _is_contents(core: Sequence[VisualLine], by_column: dict[int, list[Phrase]]) -> bool:
    """True for a list of headings with page numbers that never fall, and no other numbers."""
    inner = [p for c, ps in by_column.items() if 0 < c < max(by_column) for p in ps]
    if sum(p.is_number and not _SECTION.fullmatch(p.text) for p in inner) > 0.2 * len(inner):
        return False
    led = any(word.leader for line in core for word in line.words)
    ends = [line.phrases[-1].text for line in core]
    pages = [int(end) for end in ends if re.fullmatch(r"\d{1,4}" if led else r"\d{1,3}", end)]
    roman = sum(re.fullmatch(r"[ivxlc]+", end) is not None for end in ends)
    falls = sum(a > b for a, b in itertools.pairwise(pages))
    return (
        len(pages) >= 3
        and len(pages) + roman >= 0.7 * len(ends)
        and falls <= 0.05 * len(pages)
        and pages[-1] > pages[0]
    )


def _is_formula(lines: Sequence[VisualLine], phrases: Sequence[Phrase]) -> bool:
    """True for mathematics and code: their signs, or lines that reach into each other as powers and fractions do."""
    if sum(p.is_formula for p in phrases) > 0.2 * len(phrases):
        return True
    close = sum(_reaches_into(a, b) for a, b in itertools.pairwise(lines))
    return close > 0.35 * (len(lines) - 1)


def _reaches_into(upper: VisualLine, lower: VisualLine) -> bool:
    """True where less than a line's height lies between two lines, and words of one adjoin the other's: an exponent.

    Cells that are set half a line higher than their neighbours keep a column's gap from them.
    """
    size = min(upper.size, lower.size)
    if lower.baseline - upper.baseline >= 0.72 * size:
        return False
    ends = sorted([(p.x0, p.x1, 0) for p in upper.phrases] + [(p.x0, p.x1, 1) for p in lower.phrases])
    return any(b[0] - a[1] < 0.5 * size and a[2] != b[2] for a, b in itertools.pairwise(ends))


def _is_form(core: Sequence[VisualLine]) -> bool:
    """True for labels that end with a colon and what is filled in behind them: signatures, letterheads."""
    labelled = sum(any(p.text.endswith(":") for p in line.phrases) for line in core)
    return labelled >= 0.5 * len(core)


def _is_numbered(core: Sequence[VisualLine], numeric: float, fill: float) -> bool:
    """True for lines that are counted in the margin, as those of a transcript are."""
    counted = [line.phrases[0].text for line in core]
    numbers = [int(text) for text in counted if re.fullmatch(r"\d{1,3}", text)]
    steps = sum(b - a == 1 for a, b in itertools.pairwise(numbers))
    return len(numbers) >= 0.8 * len(core) and steps >= 0.8 * (len(numbers) - 1) and numeric < 0.3 and fill < 0.7


def _is_list(core: Sequence[VisualLine]) -> bool:
    """True where the first column holds nothing but bullets and the numbers of items, and there is one other."""
    bulleted = sum(any(p.text[:1] in _BULLETS and len(p.words) > 1 for p in line.phrases) for line in core)
    if bulleted >= 0.4 * len(core):
        return True
    if any(len(line.phrases) > 2 for line in core):
        return False
    marked = 0
    for line in core:
        first, second = line.phrases[0].words, line.phrases[1].words
        pair = Line([first[0].word, second[0].word], line.size)
        marked += len(first) == 1 and (
            list_marker(pair)[0] or re.fullmatch(r"[\[(]?\d{1,3}[\])]?[.:]?", first[0].text) is not None
        )
    return marked >= 0.6 * len(core)
