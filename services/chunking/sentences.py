"""Finds where text may be cut: after sentences, at lines, between words.

Own rules instead of UAX #29's sentences, which end at every “Dr.” before a capital and at no newline of a list.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator

_END = re.compile(
    r"(?<![.!?…])[.!?…]++[\"'”’»)\]]*+\s++"  # Latin, Greek, Cyrillic: a space must follow
    r"|[。！？｡]++[」』”’）】]*+\s*+"  # Chinese and Japanese: none does
    r"|[।॥۔؟]++\s++"  # Devanagari, Urdu, Arabic
    r"|\n[ \t]*+\n\s*+"
)
"""Possessive, and begun at the start of a run only, so that no text makes it backtrack."""

_WORDS_OF_ABBREVIATIONS = (
    "mr mrs ms dr prof st rev hon gen col sgt capt lt jr sr vs etc e.g i.e cf al fig figs eq eqs no nos vol vols "
    "pp p sec secs art arts ch approx est dept inc ltd co corp bros ed eds trans resp incl excl max min tel ext "
    "jan feb mar apr jun jul aug sep sept oct nov dec mon tue wed thu fri sat sun a.m p.m u.s u.k u.n ph.d bzw "
    "z.b d.h u.a usw ca nr str abs bd hrsg vgl ggf s.o s.u evtl inkl sog m mme mlle av p.ex c.-à-d sr sra srta "
    "dña núm pág sig dott ing avv"
)
_ABBREVIATIONS = frozenset(_WORDS_OF_ABBREVIATIONS.split())
_WORD_BEFORE = re.compile(r"[^\s(\[\"'“‘]+$")
_LIKELY_WORD_CHARS = 16

_WIDE = (
    "\u2e80-\u2fdf\u3005-\u3007\u3021-\u3029\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\uff66-\uff9f"
    "\U00020000-\U0003ffff"
)
"""Scripts written without spaces whose words are short: Han, Hiragana, Katakana. Source: Unicode blocks."""
_NOT_FIRST = "、。，．！？：；」』）】ーゝ々ぁぃぅぇぉっゃゅょァィゥェォッャュョ"
_NOT_LAST = "「『（【"
"""Source: JIS X 4051, characters that begin no line and that end none."""
_BREAK = re.compile(
    rf"\s|(?<=[{_WIDE}、。，．！？：；」』）】])(?![{_NOT_FIRST}])|(?=[{_WIDE}{_NOT_LAST}])(?<![{_NOT_LAST}])(?![{_NOT_FIRST}])"
)
"""A place between two words: white space, or beside a wide character where no punctuation forbids it."""


def sentence_ends(text: str, start: int, end: int) -> Iterator[int]:
    """Offsets in `text[start:end]` behind each sentence; `end` comes last.

    The white space after a sentence belongs to it.
    """
    last = start
    for match in _END.finditer(text, start, end):
        if match.end() >= end:
            break
        if not _is_abbreviation(text, last, match):
            last = match.end()
            yield last
    if end > last:
        yield end


def _is_abbreviation(text: str, start: int, match: re.Match[str]) -> bool:
    at = match.start()
    if text[at] != "." or text[at + 1 : at + 2] in (".", ""):
        return False
    following = text[match.end()]
    if following.islower():
        return True
    before = _WORD_BEFORE.search(text, max(start, at - _LIKELY_WORD_CHARS), at)
    if before is None:
        return False
    word = before.group().lower()
    return word in _ABBREVIATIONS or (len(word) == 1 and word.isalpha() and before.group().isupper())


def line_ends(text: str, start: int, end: int) -> Iterator[int]:
    """Offsets in `text[start:end]` behind each newline; `end` comes last."""
    while (at := text.find("\n", start, end)) >= 0 and at + 1 < end:
        start = at + 1
        yield start
    yield end


def cut_between_words(text: str, start: int, limit: int) -> int:
    """The last place between two words in `text` after `start`, at most `limit`.

    `start` where there is none. White space belongs to the word before it.
    """
    if limit >= len(text):
        return len(text)
    if _BREAK.search(text, start + 1, limit + 1) is None and not text[limit].isspace():
        return start
    for at in range(limit, start, -1):
        if (text[at - 1].isspace() and not text[at].isspace()) or _is_between_wide(text, at):
            return at
        if at == limit and text[at].isspace() and not text[at - 1].isspace():
            return at
    return start


def _is_between_wide(text: str, at: int) -> bool:
    if text[at].isspace() or text[at - 1].isspace():
        return False
    match = _BREAK.match(text, at)
    return match is not None and not splits_character(text, at)


def cut_between_characters(text: str, start: int, limit: int) -> int:
    """The last place after `start`, at most `limit`, that splits no visible character.

    A cluster that is longer than all the room is split: `limit` is given then.
    """
    for at in range(min(limit, len(text)), start, -1):
        if not splits_character(text, at):
            return at
    return limit


def splits_character(text: str, at: int) -> bool:
    """True when a cut at `at` would split a character as a reader sees it.

    That is a letter and its marks, an emoji and its parts, or the two halves of a flag.
    Source: UAX #29, rules GB3 to GB13, but for the clusters of Indic conjuncts (GB9c).
    """
    if at <= 0 or at >= len(text):
        return False
    before, after = text[at - 1], text[at]
    if before.isascii() and after.isascii():
        return before == "\r" and after == "\n"
    if (
        unicodedata.category(after) in ("Mn", "Mc", "Me")
        or after in "\u200d\ufe0e\ufe0f"
        or "\U0001f3fb" <= after <= "\U0001f3ff"
    ):
        return True
    if before == "\u200d" or ("\u1160" <= after <= "\u11ff" and "\u1100" <= before <= "\u11ff"):
        return True
    if "\U0001f1e6" <= before <= "\U0001f1ff" and "\U0001f1e6" <= after <= "\U0001f1ff":
        flags = 0
        while at - 1 - flags >= 0 and "\U0001f1e6" <= text[at - 1 - flags] <= "\U0001f1ff" and flags < 1000:
            flags += 1
        return flags % 2 == 1
    return False
