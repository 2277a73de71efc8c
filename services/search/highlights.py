"""Finds where the words of a query stand in a passage."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from services.content import Box

MAX_HIGHLIGHTS = 50

_STOP_WORDS = (
    "a an and are as at be but by for if in into is it no not of on or such that the their then there these they this "
    "to was will with"
)
STOP_WORDS = frozenset(re.findall(r"\w+", _STOP_WORDS))
"""Words that are marked only when the query has no others.

Source: Apache Lucene, EnglishAnalyzer.ENGLISH_STOP_WORDS_SET.
"""

_WORD = re.compile(r"[^\W_]+")
_UNSPACED = re.compile(r"[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff]")
"""Thai, Lao, Burmese, Khmer, Japanese and Chinese have no spaces: there a query's letters are looked for in pairs."""


@dataclass(frozen=True, slots=True)
class Range:
    """`text[char_start:char_end]`, in code points."""

    char_start: int
    char_end: int


class QueryWords:
    """The words of a query that are worth marking."""

    def __init__(self, query: str) -> None:
        words: list[str] = _WORD.findall(query)
        telling = [word for word in words if _folded(word) not in STOP_WORDS] or words
        self._stems = frozenset(_root(word) for word in telling)
        runs = [word for word in telling if _UNSPACED.search(word)]
        self._runs = tuple(dict.fromkeys(part for run in runs for part in _pairs(run)))

    def ranges(self, text: str) -> list[Range]:
        """Where the words stand in `text`, in order, not overlapping; at most 50."""
        found = [(match.start(), match.end()) for match in _WORD.finditer(text) if _root(match[0]) in self._stems]
        for run in self._runs:
            found.extend((match.start(), match.end()) for match in re.finditer(re.escape(run), text))
        merged: list[Range] = []
        for start, end in sorted(found):
            if merged and start < merged[-1].char_end:
                merged[-1] = Range(merged[-1].char_start, max(end, merged[-1].char_end))
            else:
                merged.append(Range(start, end))
        return merged[:MAX_HIGHLIGHTS]

    def count(self, text: str) -> int:
        """A sort key: how many different words of the query stand in `text`.

        Ties are broken by how often they do.
        """
        stems = [_root(word) for word in _WORD.findall(text)]
        seen = [stem for stem in stems if stem in self._stems]
        runs = sum(run in text for run in self._runs)
        return (len(set(seen)) + runs) * 10_000 + min(len(seen), 9_999)


@dataclass(frozen=True, slots=True)
class Place:
    """Where a passage stands: a page, and a box where the format has a layout."""

    page: int
    box: Box | None


def best_place(
    text: str, spans: Sequence[Mapping[str, Any]], words: QueryWords | None, *, page: int | None = None
) -> Place | None:
    """The page and box of the span with the most words of the query.

    None without spans.

    Of equal spans it is the first. Without words it is the one on `page`, or else the first. The box is the union of
    the span's boxes, which are its lines.
    """
    best: tuple[int, Mapping[str, Any]] | None = None
    offset = 0
    for span in spans:
        length = span["char_end"] - span["char_start"]
        score = words.count(text[offset : offset + length]) if words is not None else int(span["page"] == page)
        offset += length
        if best is None or score > best[0]:
            best = (score, span)
    if best is None:
        return None
    return Place(best[1]["page"], union_box(best[1].get("boxes") or ()))


def union_box(boxes: Sequence[Sequence[float]]) -> Box | None:
    """The smallest box around `boxes`; None when there are none."""
    if not boxes:
        return None

    def edge(pick: Callable[[Any], float], index: int) -> float:
        return pick([box[index] for box in boxes])

    return (edge(min, 0), edge(min, 1), edge(max, 2), edge(max, 3))


@lru_cache(maxsize=16_384)
def _root(word: str) -> str:
    """What two forms of a word have in common.

    Cached, because a few thousand words make up most of any text.
    """
    return _stem(_folded(word))


def _folded(word: str) -> str:
    if word.isascii():
        return word.lower()
    decomposed = unicodedata.normalize("NFKD", word.casefold())
    return "".join(char for char in decomposed if not unicodedata.combining(char))


def _stem(word: str) -> str:
    """`word` without its commonest English endings.

    Only marks: what is found is decided by FTS5's Porter stemmer and the vectors. So it may be rough.
    Source: steps 1a and 1b of Porter, An algorithm for suffix stripping, 1980.
    """
    for ending, kept in (("sses", "ss"), ("ies", "i"), ("ss", "ss"), ("s", "")):
        if word.endswith(ending) and len(word) > len(ending) + 2:
            word = word[: -len(ending)] + kept
            break
    for ending in ("ing", "ed", "ly"):
        if word.endswith(ending) and len(word) > len(ending) + 2:
            word = word[: -len(ending)]
            break
    if len(word) > 3 and word[-1] == "e":
        word = word[:-1]
    if len(word) > 3 and word[-1] == "y":
        word = word[:-1] + "i"
    if len(word) > 4 and word[-1] == word[-2] and word[-1] not in "lsz":
        word = word[:-1]
    return word


def _pairs(run: str) -> list[str]:
    return [run] if len(run) <= 2 else [run[start : start + 2] for start in range(len(run) - 1)]
