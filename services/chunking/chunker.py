"""Cuts pages, as they come, into passages that fit the text model.

A passage is a run of atoms (sentences, table rows, lines of code), taken as long as it fits; of the places where it may
end, the one with the best sum of fill and boundary wins. Atoms that fit nowhere are cut between words, and a word only
where it alone is longer than a passage may be.

Passages are cut from the searched text: the document's text without what stands on a page but in no passage
(content.UNSEARCHED). `_PageSpans` turns offsets in it into places in the whole text, pages, and the boxes on them.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from services.chunking.sentences import cut_between_characters, cut_between_words, line_ends, sentence_ends
from services.content import PAGE_SEPARATOR, UNSEARCHED, Block, BlockKind, Box, Chunk, Page, Span, Word
from services.options import Options

WORD, SENTENCE, BLOCK, HEADING = range(4)
"""Kinds of boundary, by what stands before or behind it."""

_WORTH = (0.0, 0.25, 0.45, 0.65)
"""What a boundary is worth, in shares of a full passage: it is taken at half a passage rather than a sentence at .9.

Source: chosen so that sentences are split only where the alternative leaves three quarters of a passage empty, and so
that a heading begins a passage as soon as the one before it is more than half full."""

_MAX_OVERLAP_SHARE = 0.5
"""Of a passage, repeated from the one before: more would multiply the passages of a document without end."""

_MAX_PREFIX_SHARE = 1 / 3
_MAX_HEADING_CHARS = 200
_OPEN_ENDED = frozenset((BlockKind.PARAGRAPH, BlockKind.QUOTE))

_SAME_LINE = 0.5
"""Share of the smaller height by which two words must overlap to stand on one line."""


@dataclass(slots=True)
class _Atom:
    start: int
    end: int
    before: int
    """Boundary at the start."""
    path: tuple[str, ...]
    """Headings above; of a heading, those above it."""
    is_heading: bool = False
    table_header: str = ""
    """The header row of the table that this row is in; empty for the header row itself."""
    tokens: int = -1


class Chunker:
    """Yields the passages of one document while its pages come in.

    Holds back only what the next passage needs.
    """

    def __init__(
        self, options: Options, *, max_tokens: int, count_tokens: Callable[[str], int], title: str = ""
    ) -> None:
        """Begins a document; `title` stands before its headings.

        `count_tokens` counts as the model does, its special tokens included; so does `max_tokens`.
        """
        self._size = options.chunk_size
        self._overlap = min(options.chunk_overlap, int(options.chunk_size * _MAX_OVERLAP_SHARE))
        self._max_tokens = max_tokens
        self._count = count_tokens
        self._special = count_tokens("")
        self._path: list[tuple[int, str]] = []
        self._title = " ".join(title.split())[:_MAX_HEADING_CHARS]
        self._pages = _PageSpans()
        self._text = ""
        self._base = 0
        """Offset of the first character of `_text` in the document's searched text, in which all offsets here count."""
        self._atoms: deque[_Atom] = deque()
        self._repeated = 0
        """Atoms at the front that the passage before holds too."""
        self._ordinal = 0
        self._prefixes: dict[tuple[tuple[str, ...], str], str] = {}
        self._may_continue = False
        self._table_header = ""
        """Of the last table, which the next page may go on with."""

    def feed(self, page: Page) -> list[Chunk]:
        """The passages that are complete now that `page` is known."""
        self._trim()
        added, parts = self._pages.add(page)
        self._text += added
        for offset, start, end in parts:
            self._atoms.extend(self._read(page, start, end, offset - start))
        return list(self._drain(final=False))

    def finish(self) -> list[Chunk]:
        """The passages that are left."""
        return list(self._drain(final=True))

    @property
    def pending_chars(self) -> int:
        """Characters that are held back for the next passages."""
        return len(self._text)

    def _trim(self) -> None:
        keep = self._atoms[0].start if self._atoms else self._base + len(self._text)
        self._text = self._text[keep - self._base :]
        self._base = keep
        self._pages.forget_before(keep)

    # Reading a page into atoms

    def _read(self, page: Page, start: int, end: int, offset: int) -> Iterator[_Atom]:
        at = start
        for block in page.blocks:
            if block.kind in UNSEARCHED or not start <= block.char_start < end:
                continue
            yield from self._read_gap(page.text, at, block.char_start, offset)
            yield from self._read_block(page.text, block, offset)
            at = max(at, block.char_end)
        yield from self._read_gap(page.text, at, end, offset)

    def _read_gap(self, text: str, start: int, end: int, offset: int) -> Iterator[_Atom]:
        """Text that no block holds, taken as a paragraph."""
        if start < end and not text[start:end].isspace():
            yield from self._read_block(text, Block(BlockKind.PARAGRAPH, start, end), offset)

    def _read_block(self, text: str, block: Block, offset: int) -> Iterator[_Atom]:
        start, end = _trimmed(text, block.char_start, block.char_end)
        if start == end:
            return
        if block.kind is BlockKind.HEADING:
            level = min(max(block.level, 1), 6)
            while self._path and self._path[-1][0] >= level:
                self._path.pop()
            heading = " ".join(text[start:end].split())[:_MAX_HEADING_CHARS]
            above = self._headings() if heading.casefold() != self._title.casefold() else ()
            yield _Atom(offset + start, offset + end, HEADING, above, is_heading=True)
            self._path.append((level, heading))
            self._may_continue = False
            return
        continues = self._may_continue and block.kind in _OPEN_ENDED and text[start].islower()
        boundary = WORD if continues else SENTENCE if block.kind is BlockKind.LIST_ITEM else BLOCK
        path = self._headings()
        is_table = block.kind is BlockKind.TABLE
        header = self._table_header if is_table and block.continues else ""
        by_line = is_table or block.kind is BlockKind.CODE
        for stop in line_ends(text, start, end) if by_line else sentence_ends(text, start, end):
            first, last = _trimmed(text, start, stop)
            if first < last:
                yield _Atom(offset + first, offset + last, boundary, path, table_header=header)
                if is_table and not header:
                    self._table_header = header = text[first:last]
                boundary = SENTENCE
            start = stop
        self._may_continue = block.kind in _OPEN_ENDED and text[end - 1] not in ".!?…:;。！？\"'”’)]"

    def _headings(self) -> tuple[str, ...]:
        path = tuple(heading for _, heading in self._path)
        if self._title and (not path or path[0].casefold() != self._title.casefold()):
            return (self._title, *path)
        return path

    # Taking passages off the front

    def _drain(self, *, final: bool) -> Iterator[Chunk]:
        while len(self._atoms) > self._repeated:
            if not final and self._atoms[-1].end - self._atoms[0].start <= self._size:
                return
            yield self._take()

    def _take(self) -> Chunk:
        """The next passage, taken off the queue.

        What is repeated from it stands at the front of the queue afterwards.
        """
        self._make_room()
        count = self._best_end(self._fitting())
        prefix, text = self._compose(count)
        while self._count_with(prefix, text) > self._max_tokens:
            if count > self._repeated + 1:
                count = self._best_end(self._fitting_tokens(prefix, count))
            elif self._repeated:
                self._drop_repeated()
                count = 1
            elif not self._halve():
                break
            prefix, text = self._compose(count)
        taken = [self._atoms.popleft() for _ in range(count)]
        start, end = taken[0].start, taken[-1].end
        chunk = Chunk(self._ordinal, text, prefix, self._pages.spans(start, end))
        self._ordinal += 1
        self._repeat(taken)
        return chunk

    def _slice(self, start: int, end: int) -> str:
        return self._text[start - self._base : end - self._base]

    def _make_room(self) -> None:
        """Makes the first new atom fit a passage.

        It stands beside the repeated ones if it may, and is cut if it must be.
        """
        new = self._atoms[self._repeated]
        if self._repeated and new.end - self._atoms[0].start > self._size:
            head = self._cut_words(new, self._atoms[0].start + self._size)
            if head and new.end - new.start > self._size:
                self._split(self._repeated, head)
            else:
                while self._repeated and new.end - self._atoms[0].start > self._size:
                    self._atoms.popleft()
                    self._repeated -= 1
        new = self._atoms[self._repeated]
        if new.end - new.start > self._size:
            limit = new.start + self._size
            self._split(self._repeated, self._cut_words(new, limit) or self._cut_characters(new, limit))

    def _fitting(self) -> int:
        """How many atoms fit by their characters.

        A long one at the end is cut where the passage would else stay too empty.
        """
        limit = self._atoms[0].start + self._size
        count = 0
        for atom in self._atoms:
            if atom.end > limit:
                break
            count += 1
        if count < len(self._atoms):
            atom = self._atoms[count]
            filled = self._atoms[count - 1].end - self._atoms[0].start
            if filled < self._size * _WORTH[SENTENCE] and not atom.is_heading:
                cut = self._cut_words(atom, limit)
                if cut:
                    self._split(count, cut)
                    count += 1
        return count

    def _fitting_tokens(self, prefix: str, count: int) -> int:
        """How many of the first `count` atoms fit by their tokens.

        At least one new one, and less than `count`.
        """
        room = self._max_tokens - self._special - (self._tokens(prefix) if prefix else 0)
        while self._repeated and sum(self._atom_tokens(self._atoms[i]) for i in range(self._repeated)) > room // 2:
            self._atoms.popleft()
            self._repeated -= 1
            count -= 1
        used = fitting = 0
        for index in range(count):
            used += self._atom_tokens(self._atoms[index])
            if used > room:
                break
            fitting += 1
        return max(self._repeated + 1, min(fitting, count - 1))

    def _best_end(self, count: int) -> int:
        """The number of atoms, of `count` that fit, with which to end the passage."""
        least = self._repeated + 1
        if count >= len(self._atoms):
            return count
        start = self._atoms[0].start
        full = self._atoms[count - 1].end - start
        best, best_score = count, -1.0
        for number in range(least, count + 1):
            if self._atoms[number - 1].is_heading and number > least:
                continue
            score = (self._atoms[number - 1].end - start) / full + _WORTH[self._atoms[number].before]
            if score >= best_score:
                best, best_score = number, score
        while best > least and self._atoms[best - 1].is_heading:
            best -= 1
        return best

    def _repeat(self, taken: list[_Atom]) -> None:
        """Puts the last whole sentences of a passage before what comes next.

        Before a heading nothing is repeated.
        """
        self._repeated = 0
        if not self._overlap or not self._atoms or self._atoms[0].is_heading:
            return
        end = taken[-1].end
        repeated: list[_Atom] = []
        for atom in reversed(taken[1:]):
            if end - atom.start > self._overlap or atom.is_heading:
                break
            repeated.append(atom)
        last = taken[-1]
        if not repeated and not last.is_heading and not last.table_header:
            tail = self._tail(last)
            if tail is not None:
                repeated.append(tail)
        self._atoms.extendleft(repeated)
        self._repeated = len(repeated)

    def _tail(self, atom: _Atom) -> _Atom | None:
        """The last words of a long sentence, as many as may be repeated.

        None where not even one fits.
        """
        earliest = max(atom.start, atom.end - self._overlap) - self._base
        end = atom.end - self._base
        cut = cut_between_words(self._text, earliest, min(earliest + self._overlap // 2, end - 1))
        if cut <= earliest or cut >= end:
            return None
        start, end = _trimmed(self._text, cut, end)
        if start == end:
            return None
        return _Atom(start + self._base, end + self._base, WORD, atom.path)

    # Cutting atoms

    def _cut_words(self, atom: _Atom, limit: int) -> int:
        """Where to cut `atom` between words, at most at `limit`.

        0 where its first word is longer.
        """
        if limit <= atom.start:
            return 0
        cut = cut_between_words(self._text, atom.start - self._base, limit - self._base) + self._base
        return cut if atom.start < cut < atom.end else 0

    def _cut_characters(self, atom: _Atom, limit: int) -> int:
        return cut_between_characters(self._text, atom.start - self._base, limit - self._base) + self._base

    def _split(self, index: int, cut: int) -> None:
        """Replaces the atom at `index` by its two parts around `cut`."""
        atom = self._atoms[index]
        head_start, head_end = _trimmed(self._text, atom.start - self._base, cut - self._base)
        tail_start, tail_end = _trimmed(self._text, cut - self._base, atom.end - self._base)
        self._atoms[index] = _Atom(
            head_start + self._base, head_end + self._base, atom.before, atom.path, atom.is_heading, atom.table_header
        )
        if tail_start < tail_end:
            tail = _Atom(tail_start + self._base, tail_end + self._base, WORD, atom.path, False, atom.table_header)
            self._atoms.insert(index + 1, tail)

    def _halve(self) -> bool:
        """Cuts the first atom in two, which alone has too many tokens.

        False where it is a single character.
        """
        atom = self._atoms[0]
        middle = atom.start + max(1, (atom.end - atom.start) // 2)
        cut = self._cut_words(atom, middle) or self._cut_characters(atom, middle)
        if not atom.start < cut < atom.end:
            return False
        self._split(0, cut)
        return True

    def _drop_repeated(self) -> None:
        for _ in range(self._repeated):
            self._atoms.popleft()
        self._repeated = 0

    # Prefix and tokens

    def _compose(self, count: int) -> tuple[str, str]:
        first = self._atoms[0]
        return self._prefix(first.path, first.table_header), self._slice(first.start, self._atoms[count - 1].end)

    def _prefix(self, path: tuple[str, ...], header: str) -> str:
        """The heading path and the table header, shortened.

        They take a third of the tokens and of the characters of a passage, at most.
        """
        key = (path, header)
        known = self._prefixes.get(key)
        if known is not None:
            return known
        room = int((self._max_tokens - self._special) * _MAX_PREFIX_SHARE)
        chars = int(self._size * _MAX_PREFIX_SHARE)
        parts = list(path)
        prefix = _join_prefix(parts, header)
        while prefix and (len(prefix) > chars or self._tokens(prefix) > room):
            if len(parts) > 1:
                parts.pop(1 if len(parts) > 2 else 0)
            elif parts and header:
                parts.clear()
            elif header:
                header = _first_half(header)
            else:
                parts = [half] if (half := _first_half(parts[0])) else []
            prefix = _join_prefix(parts, header)
        if len(self._prefixes) > 64:
            self._prefixes.clear()
        self._prefixes[key] = prefix
        return prefix

    def _tokens(self, text: str) -> int:
        return self._count(text) - self._special

    def _atom_tokens(self, atom: _Atom) -> int:
        if atom.tokens < 0:
            atom.tokens = self._tokens(self._slice(atom.start, atom.end))
        return atom.tokens

    def _count_with(self, prefix: str, text: str) -> int:
        return self._count(f"{prefix}\n{text}" if prefix else text)


def _join_prefix(parts: list[str], header: str) -> str:
    path = " > ".join(parts)
    return f"{path}\n{header}" if path and header else path or header


def _first_half(text: str) -> str:
    """The first words of `text`, half as long or less.

    Empty where there is no place to cut.
    """
    half = len(text) // 2
    return text[: cut_between_words(text, 0, half)].rstrip(" |") if half else ""


def _trimmed(text: str, start: int, end: int) -> tuple[int, int]:
    """`start, end` without the white space at both ends."""
    while start < end and text[start].isspace():
        start += 1
    while end > start and text[end - 1].isspace():
        end -= 1
    return start, end


# From passages back to pages


@dataclass(slots=True)
class _Placed:
    page: Page
    start: int
    """Where the page begins in the document's text."""
    ends: list[int]
    """`char_end` of each word, for bisection."""
    starts: list[int]


@dataclass(slots=True)
class _Run:
    """A slice `start:end` of the searched text.

    It stands `shift` characters later in the document's text.
    """

    placed: _Placed
    start: int
    end: int
    shift: int


class _PageSpans:
    """The pages that passages may still lie on.

    It knows where their parts stand in the searched text and in the document's.
    """

    def __init__(self) -> None:
        self._runs: deque[_Run] = deque()
        self._last: _Placed | None = None
        self._needs_separator = False
        self._document_end = 0
        self._end = 0

    def add(self, page: Page) -> tuple[str, list[tuple[int, int, int]]]:
        """Takes up the next page; returns what it adds to the searched text, with parts.

        A part is (offset in the searched text, start, end on the page). A page separator, which belongs to the page
        before it, may come first.
        """
        pieces: list[str] = []
        parts = _kept_parts(page)
        if self._last is not None:
            if self._needs_separator:
                self._put(self._last, self._document_end, self._document_end + len(PAGE_SEPARATOR))
                pieces.append(PAGE_SEPARATOR)
            self._document_end += len(PAGE_SEPARATOR)
        words = page.words
        placed = _Placed(page, self._document_end, [w.char_end for w in words], [w.char_start for w in words])
        found = []
        for start, end in parts:
            found.append((self._end, start, end))
            self._put(placed, placed.start + start, placed.start + end)
            pieces.append(page.text[start:end])
        # Where a page ends with what is left out, the space before that parts it from the next page.
        self._needs_separator = not page.text or (
            bool(parts) and (parts[-1][1] == len(page.text) or not page.text[parts[-1][1] - 1].isspace())
        )
        self._last = placed
        self._document_end += len(page.text)
        return "".join(pieces), found

    def _put(self, placed: _Placed, start: int, end: int) -> None:
        self._runs.append(_Run(placed, self._end, self._end + end - start, start - self._end))
        self._end += end - start

    def forget_before(self, offset: int) -> None:
        """Lets go of what ends before `offset` of the searched text."""
        while self._runs and self._runs[0].end <= offset:
            self._runs.popleft()

    def spans(self, start: int, end: int) -> tuple[Span, ...]:
        """Where `start:end` of the searched text stands in the document's, page by page.

        What lies between and is not searched is left out.
        """
        found: list[tuple[_Placed, int, int]] = []
        for run in self._runs:
            first, last = max(start, run.start) + run.shift, min(end, run.end) + run.shift
            if first >= last:
                continue
            if found and found[-1][0] is run.placed and found[-1][2] == first:
                found[-1] = (run.placed, found[-1][1], last)
            else:
                found.append((run.placed, first, last))
        return tuple(
            Span(placed.page.number, first, last, _boxes(placed, first - placed.start, last - placed.start))
            for placed, first, last in found
        )


def _kept_parts(page: Page) -> list[tuple[int, int]]:
    """The parts of a page's text that are searched, as (start, end).

    All but unsearched blocks and the space behind them.
    """
    parts: list[tuple[int, int]] = []
    at = 0
    for block in page.blocks:
        if block.kind not in UNSEARCHED:
            continue
        if at < block.char_start and not page.text[at : block.char_start].isspace():
            parts.append((at, block.char_start))
        at = block.char_end
        while at < len(page.text) and page.text[at].isspace():
            at += 1
    if at < len(page.text):
        parts.append((at, len(page.text)))
    return parts


def _boxes(placed: _Placed, start: int, end: int) -> tuple[Box, ...]:
    page = placed.page
    if page.words:
        return _line_boxes(page.words[bisect_right(placed.ends, start) : bisect_left(placed.starts, end)])
    return tuple(b.box for b in page.blocks if b.box is not None and b.char_start < end and b.char_end > start)


def _line_boxes(words: Iterable[Word]) -> tuple[Box, ...]:
    """One box for each run of words that stand on one line, in reading order."""
    lines: list[Box] = []
    for word in words:
        if lines and _continues(lines[-1], word.box):
            a, b = lines[-1], word.box
            lines[-1] = (min(a[0], b[0]), min(a[1], b[1]), max(a[2], b[2]), max(a[3], b[3]))
        else:
            lines.append(word.box)
    return tuple(lines)


def _continues(line: Box, word: Box) -> bool:
    shared = min(line[3], word[3]) - max(line[1], word[1])
    height = min(line[3] - line[1], word[3] - word[1])
    return shared >= _SAME_LINE * height and word[2] > line[0] and word[0] >= line[0]
