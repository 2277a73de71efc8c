"""A page's words as a finder of tables sees them.

Visual lines across the page, phrases, and running text set aside.
"""

from __future__ import annotations

import itertools
import re
import statistics
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from services.content import Box
from services.ocr.layout import Line, LooseWord, list_marker, union

WIDE_GAP = 0.9
"""Sizes of type between two phrases of a line. Spaces are 0.2 to 0.35 wide, stretched ones seldom 0.8.
Source: measured on the development half of ICDAR-2013's EU set."""

NUMBER_GAP = 0.55
"""The same between two numbers, whose space is never stretched."""

MIN_MEASURE = 14.0
"""Sizes of type from which lines are the lines of a text column; narrower ones may be those of a cell."""

_LEADERS = ".·…_‥"
_FORMULA = re.compile(r"[=∈⊆⊂∪∩→⇒⇔↦∂∇∑∏∫√∞∀∃≅≡∘×⟨⟩{}\uf000-\uf8ff]|[;({]$|^[()\[\],;|+·]$|\w\(\w*$|::|\(\)")
"""Signs that stand in formulas and programs, and rarely in the cells of a table."""

_DOTS = re.compile(r"[.·…_‥]+")
_NUMBER = re.compile(
    r"[(\[<>≤≥~±+\-–—−$€£¥]*"
    r"(?:\d[\d.,'’ \u00a0\u202f]*(?:[/:\-–]\d+)*|[-–—−.…*x✓✔xX]+|n\.?a\.?|n/a|:)"
    r"(?:\s?(?:%|‰|€|\$|£|°C?|pp?))?[)\]*†‡§a-z¹²³⁴]{0,3}",
    re.IGNORECASE,
)


@dataclass(slots=True, eq=False)
class PlacedWord:
    """A word with its box turned so that its line runs rightwards, and what its line says of it."""

    word: LooseWord
    text: str
    """Its text without the dots that lead to it or away from it, to which `box` does not reach either."""
    box: Box
    size: float
    baseline: float
    line: int
    """Index of its line in content order."""
    leader: bool = False
    """True for dots that lead from a label to its number."""


@dataclass(slots=True)
class _WordRun:
    """Words from left to right, with the extent that they have together."""

    words: list[PlacedWord]

    @property
    def x0(self) -> float:
        return self.words[0].box[0]

    @property
    def x1(self) -> float:
        return max(word.box[2] for word in self.words)

    @property
    def top(self) -> float:
        return min(word.box[1] for word in self.words)

    @property
    def bottom(self) -> float:
        return max(word.box[3] for word in self.words)


@dataclass(slots=True)
class Phrase(_WordRun):
    """Neighbours on a visual line with nothing but spaces between: the part of a cell that stands on the line."""

    @property
    def size(self) -> float:
        return max(word.size for word in self.words)

    @property
    def text(self) -> str:
        return " ".join(word.text for word in self.words)

    @property
    def is_formula(self) -> bool:
        """True where a word of it is mathematics or code."""
        return any(_FORMULA.search(word.text) for word in self.words)

    @property
    def is_number(self) -> bool:
        """True for an amount, a share, a dash in its place or the like."""
        return looks_numeric(self.text)


@dataclass(slots=True)
class VisualLine(_WordRun):
    """All words of a page, or a region, that stand at one height, from left to right."""

    baseline: float
    size: float
    phrases: list[Phrase] = field(default_factory=list)


def looks_numeric(text: str) -> bool:
    """True for an amount, a share, a date in digits, a mark or a dash in a number's place."""
    return _NUMBER.fullmatch(text) is not None


def turned(box: Box, quarter: int) -> Box:
    """`box` seen with the page turned so that text written towards `quarter` (degrees clockwise) runs to the right."""
    x0, y0, x1, y1 = box
    if quarter == 90:
        return (y0, -x1, y1, -x0)
    if quarter == 180:
        return (-x1, -y1, -x0, -y0)
    if quarter == 270:
        return (-y1, x0, -y0, x1)
    return box


def quarter_of(line: Line) -> int:
    """Direction of writing of `line` in degrees clockwise.

    0 where its source does not say.
    """
    return int(getattr(line, "quarter", 0))


def place_words(lines: Sequence[Line], quarter: int) -> list[PlacedWord]:
    """The words of those `lines` that are written towards `quarter`.

    Dots that lead somewhere are marked.
    """
    placed: list[PlacedWord] = []
    for index, line in enumerate(lines):
        if quarter_of(line) != quarter or not line.words:
            continue
        size = max(line.size, 1.0)
        boxes = [turned(word.box, quarter) for word in line.words]
        usual = statistics.median(box[3] for box in boxes)
        said = getattr(line, "baseline", usual)
        if abs(said - usual) < 0.3 * size:
            usual = said
        dots = _spaced_leaders(line.words)
        for index_in_line, (word, box) in enumerate(zip(line.words, boxes, strict=True)):
            # Raised and lowered marks belong to their line; a word that PDFium put on the line of another does not.
            baseline = usual if abs(box[3] - usual) < 0.6 * size else box[3]
            before, text, after = _without_leaders(word.text)
            if text and (before or after):
                pitch = (box[2] - box[0]) / len(word.text)
                box = (box[0] + before * pitch, box[1], box[2] - after * pitch, box[3])
            leads = index_in_line in dots or not text
            placed.append(PlacedWord(word, text, box, size, baseline, index, leads))
    return placed


def has_columns(words: Sequence[PlacedWord]) -> bool:
    """True where words stand far from each other at one height, on two lines at least.

    Prose in one column has none.
    """
    apart = 0
    heights: list[tuple[float, float]] = []
    for a, b in itertools.pairwise(words):
        if a.line != b.line:
            heights.append((b.baseline, b.size))
        elif b.box[0] - a.box[2] > NUMBER_GAP * a.size:
            apart += 1
    heights.sort()
    apart += sum(b[0] - a[0] < 0.35 * min(a[1], b[1]) for a, b in itertools.pairwise(heights))
    return apart >= 2


def _without_leaders(text: str) -> tuple[int, str, int]:
    """(dots that lead to `text`, the rest of it, dots that lead away); up to two dots are its own."""
    if text and text[0] not in _LEADERS and text[-1] not in _LEADERS:
        return 0, text, 0
    bare = text.strip(_LEADERS)
    if not bare:
        return (0, "", 0) if len(text) >= 3 else (0, text, 0)
    start = text.index(bare)
    before, after = start, len(text) - start - len(bare)
    before, after = (n if n >= 3 else 0 for n in (before, after))
    return before, text[before : len(text) - after], after


def _spaced_leaders(words: Sequence[LooseWord]) -> set[int]:
    """Indices of the dots of leaders that have spaces between: three and more in a row."""
    found: set[int] = set()
    run: list[int] = []
    for index, word in enumerate([*words, None]):
        if word is not None and _DOTS.fullmatch(word.text):
            run.append(index)
            continue
        if len(run) >= 3:
            found.update(run)
        run = []
    return found


def visual_lines(words: Iterable[PlacedWord]) -> list[VisualLine]:
    """`words` grouped by height, top to bottom, each group from left to right."""
    lines: list[VisualLine] = []
    for word in sorted(words, key=lambda w: (w.baseline, w.box[0])):
        last = lines[-1] if lines else None
        if last is not None and word.baseline - last.baseline < 0.35 * min(word.size, last.size):
            last.words.append(word)
            continue
        lines.append(VisualLine([word], word.baseline, word.size))
    for line in lines:
        line.words.sort(key=lambda w: w.box[0])
        line.size = statistics.median(w.size for w in line.words)
    return lines


def is_wide(a: PlacedWord, b: PlacedWord) -> bool:
    """True where the gap between two neighbours is a column's and not a space."""
    gap = b.box[0] - a.box[2]
    size = min(a.size, b.size)
    if gap >= WIDE_GAP * size:
        return True
    if gap < NUMBER_GAP * size:
        return False
    right = b.text
    return a.text[-1:].isdigit() and right[:1].isdigit() and not is_thousands(a, b)


def is_thousands(a: PlacedWord, b: PlacedWord) -> bool:
    """True where `b` may be the next three digits of the number that ends with `a`, or a sign belongs to a number."""
    left, right = a.text, b.text
    if left in "+-–−€$£<>≤≥" and right[:1].isdigit():
        return True
    if right[:1] in "%€$£‰" and left[-1:].isdigit():
        return True
    return bool(re.search(r"(?:^|\D)\d{1,3}$", left)) and bool(re.match(r"\d{3}(?!\d)", right))


def split_phrases(
    words: Sequence[PlacedWord], bars: Sequence[float] = (), rivers: Sequence[float] = ()
) -> list[Phrase]:
    """`words` of a visual line cut at wide gaps, at `bars` (x of upright rules that cross it) and at `rivers`."""
    phrases: list[Phrase] = []
    before: PlacedWord | None = None
    right = 0.0
    for word in words:
        if word.leader:
            before = None
            continue
        cut = before is None or is_wide(before, word)
        if not cut and before is not None:
            left, start = max(right, before.box[2]) - 1.0, word.box[0] + 1.0
            cut = any(left <= x <= start for x in bars) or any(left <= x <= start for x in rivers)
        if cut:
            phrases.append(Phrase([word]))
            right = word.box[2]
        else:
            phrases[-1].words.append(word)
            right = max(right, word.box[2])
        before = word
    return phrases


@dataclass(slots=True)
class _TextRow:
    """A line of the content with its box, or neighbours of it on the same baseline."""

    indices: list[int]
    words: list[PlacedWord]
    box: Box
    size: float
    baseline: float


def running_text(words: Sequence[PlacedWord]) -> set[int]:
    """Indices of the lines that are running text: three lines and more of words that fill the measure of their column.

    They are found in content order, in which a paragraph's lines follow each other also where columns stand side by
    side. A single long line counts where nothing else stands at its height.
    """
    rows: list[_TextRow] = []
    for _, group in itertools.groupby(words, key=lambda w: w.line):
        members = [w for w in group if not w.leader]
        if not members:
            continue
        box = union([w.box for w in members])
        row = _TextRow([members[0].line], members, box, members[0].size, statistics.median(w.baseline for w in members))
        last = rows[-1] if rows else None
        if (
            last is not None
            and abs(last.baseline - row.baseline) < 0.3 * row.size
            and -0.5 * row.size < box[0] - last.box[2] < WIDE_GAP * row.size
        ):
            last.indices += row.indices
            last.words += members
            last.box = union([last.box, box])
        else:
            rows.append(row)
    prose: set[int] = set()
    run: list[_TextRow] = []
    for row in rows:
        if run and not _goes_on(run[-1], row):
            prose.update(_paragraph(run))
            run = []
        run.append(row)
    prose.update(_paragraph(run))
    others = sorted(row.baseline for row in rows if row.indices[0] not in prose)
    for row in rows:
        if row.indices[0] not in prose and _is_sentence(row):
            reach = 0.5 * row.size
            if bisect_right(others, row.baseline + reach) - bisect_left(others, row.baseline - reach) == 1:
                prose.update(row.indices)
    return prose


def _goes_on(last: _TextRow, row: _TextRow) -> bool:
    step = row.baseline - last.baseline
    return (
        0.7 * row.size < step < 2.1 * row.size
        and abs(row.size - last.size) < 0.2 * last.size
        and min(last.box[2], row.box[2]) > max(last.box[0], row.box[0])
        and abs(last.box[0] - row.box[0]) < 5 * row.size
    )


def _has_gap(row: _TextRow) -> bool:
    gaps = [b.box[0] - a.box[2] for a, b in itertools.pairwise(row.words)]
    marker = len(row.words) > 2 and list_marker(Line([w.word for w in row.words[:2]], row.size))[0]
    return any(gap > 1.3 * row.size for gap in gaps[1 if marker else 0 :])


def _paragraph(run: Sequence[_TextRow]) -> list[int]:
    """Line indices of `run` where it is a paragraph: long lines, words for the most part, ends near one right edge."""
    if len(run) < 3:
        return []
    left, right = min(r.box[0] for r in run), max(r.box[2] for r in run)
    size = run[0].size
    if right - left < MIN_MEASURE * size:
        return []
    full = [r for r in run if r.box[2] - left > 0.8 * (right - left) and not _has_gap(r)]
    if len(full) < 0.6 * (len(run) - 1) or any(_has_gap(r) for r in run):
        return []
    texts = [w.text for r in run for w in r.words]
    wordy = sum(any(c.isalpha() for c in t) for t in texts)
    if wordy < 0.6 * len(texts) or len(texts) < 4 * len(run):
        return []
    return [index for r in run for index in r.indices]


def _is_sentence(row: _TextRow) -> bool:
    texts = [w.text for w in row.words]
    wordy = sum(any(c.isalpha() for c in t) for t in texts)
    return (
        len(texts) >= 8 and wordy >= 0.7 * len(texts) and row.box[2] - row.box[0] > 22 * row.size and not _has_gap(row)
    )
