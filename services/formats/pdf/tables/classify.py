"""Tells tables from contents, lists, prose in columns, formulas and forms."""

from __future__ import annotations

import itertools
import re
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from services.content import Box
from services.formats.pdf.tables.columns import Ruling, column_of, find_columns
from services.formats.pdf.tables.words import Phrase, VisualLine
from services.ocr.layout import Line, list_marker

MAX_CELL_WORDS = 8
"""Words of a phrase, in the mean, up to which a caption above is believed."""

_SECTION = re.compile(r"\d{1,2}(?:\.\d{1,2})*\.?")
_BULLETS = frozenset("•◦▪▫‣●○■□➢➤✓✔")


@dataclass(frozen=True, slots=True)
class _Columns:
    """How the phrases of some lines stand in columns, in the figures that tell a table from other matter."""

    lines: Sequence[VisualLine]
    core: Sequence[VisualLine]
    """The lines of two phrases or more; all figures are of theirs."""
    count: int
    """Columns."""
    by_column: Mapping[int, Sequence[Phrase]]
    numeric: float
    """Share of numbers among the phrases behind the first column."""
    words: float
    """Words of a phrase, in the mean."""
    fill: float
    """Share of the columns that a line fills, in the mean."""
    aligned: float
    """Share of a column's phrases that agree in an edge, in the mean."""

    @property
    def phrases(self) -> Sequence[Phrase]:
        return [phrase for line in self.core for phrase in line.phrases]


def is_table(lines: Sequence[VisualLine], ruling: Ruling, frame: Box | None, *, captioned: bool) -> bool:
    """True where the phrases of `lines` stand in columns as those of tables do, and not as those of other matter."""
    found = _columns_of(lines)
    if found is None or _is_other_matter(found):
        return False
    across = _rules_across(lines, ruling)
    if across >= 3 or (frame is not None and _is_divided(frame, ruling)):
        return _is_ruled_table(found)
    return (captioned and _is_captioned_table(found)) or _is_bare_table(found, across)


def _columns_of(lines: Sequence[VisualLine]) -> _Columns | None:
    """The columns that `lines` stand in.

    None where there are fewer than two, or too few lines with two phrases.
    """
    columns = find_columns(lines)
    core = [line for line in lines if len(line.phrases) >= 2]
    if len(columns) < 2 or len(core) < 2 or len(core) < 0.4 * len(lines):
        return None
    phrases = [p for line in core for p in line.phrases]
    by_column: dict[int, list[Phrase]] = {}
    for p in phrases:
        by_column.setdefault(column_of(p, columns), []).append(p)
    behind_first = [p for column, ps in by_column.items() if column for p in ps]
    return _Columns(
        lines,
        core,
        len(columns),
        by_column,
        numeric=sum(p.is_number for p in behind_first) / max(1, len(behind_first)),
        words=statistics.fmean(len(p.words) for p in phrases),
        fill=len(phrases) / (len(core) * len(columns)),
        aligned=statistics.fmean(_alignment(ps) for ps in by_column.values()),
    )


def _rules_across(lines: Sequence[VisualLine], ruling: Ruling) -> int:
    """Level lines of the drawing that lie across most of `lines`."""
    x0, x1 = min(line.x0 for line in lines), max(line.x1 for line in lines)
    top, bottom = lines[0].top - 12, lines[-1].bottom + 12
    return sum(
        box[2] - box[0] >= 0.6 * (x1 - x0) and box[0] < x1 and box[2] > x0 and top <= box[1] <= bottom
        for box in ruling.level
    )


def _is_other_matter(found: _Columns) -> bool:
    """True for what stands in columns and is no table: contents, lists, prose, formulas, numbered lines."""
    return (
        _is_contents(found.core, found.by_column)
        or _is_list(found.core)
        or _is_flowing(found.core, found.by_column)
        or _is_formula(found.lines, found.phrases)
        or _is_numbered(found.core, found.numeric, found.fill)
    )


def _is_ruled_table(found: _Columns) -> bool:
    """What lines across or a divided frame say already needs little alignment.

    Most lines must fill half of it.
    """
    if len(found.core) < 3 and found.numeric < 0.5:
        return False
    full = sum(len(line.phrases) >= min(0.5 * found.count, 4) for line in found.core)
    is_aligned = found.aligned >= 0.4 and found.fill >= 0.25
    return is_aligned and found.words <= 12 and full >= max(2, 0.3 * len(found.core))


def _is_captioned_table(found: _Columns) -> bool:
    return found.aligned >= 0.5 and found.fill >= 0.3 and found.words <= MAX_CELL_WORDS


def _is_bare_table(found: _Columns, across: int) -> bool:
    """What neither lines nor a caption announce must be numbers, or short phrases that stand well aligned."""
    lines = len(found.core)
    if lines < 3 or _is_form(found.core):
        return False
    if found.count == 2:
        return found.numeric >= 0.6 and found.aligned >= 0.6 and lines >= (3 if across >= 2 else 4)
    if found.numeric >= 0.5:
        return found.aligned >= 0.5 and found.fill >= 0.4
    return found.aligned >= 0.7 and found.fill >= 0.5 and found.words <= 4 and lines >= 4


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


def _is_flowing(core: Sequence[VisualLine], by_column: Mapping[int, Sequence[Phrase]]) -> bool:
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


def _is_contents(core: Sequence[VisualLine], by_column: Mapping[int, Sequence[Phrase]]) -> bool:
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
