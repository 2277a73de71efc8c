"""Whether the text layer of a page is worth reading, told from the text alone."""

from __future__ import annotations

import itertools
import math
import re
import unicodedata
from collections import Counter

MAX_MEANINGLESS_SHARE = 0.2
"""Share of characters without a meaning from which a page is garbage; the icons of a page of prose stay far below."""

MIN_LETTERS = 120
"""Latin letters that a page needs before their frequencies say anything."""

MIN_DISTINCT_LETTERS = 40
"""Letters of the page's different words, each counted once, below which it says too little: labels of a table."""

_LETTER_RUN = re.compile("[a-z]+")

MIN_RESEMBLANCE = 0.60
"""Cosine of a page's letter frequencies to `_LETTERS` below which no language was meant.

Source: measured on 719 passages of XQuAD's Latin-script languages (English, German, Spanish, Romanian, Turkish,
Vietnamese): .675 and more, none refused by this and the next two rules; 3 of 1,841 source files are; 95 % of shifted
and 88 % of permuted alphabets, and 99 % of texts whose codes are 29 too low (usual with subset fonts), are found.
"""

DOUBTFUL_RESEMBLANCE = 0.75
"""The same where the share of vowels is odd too."""

VOWELS = "aeiouy"
VOWEL_SHARES = (0.30, 0.55)
"""Share of vowels among the letters of usual text. Source: .33 to .51 in the same 719 passages."""

_LETTERS: dict[str, float] = dict(
    zip(
        "abcdefghijklmnopqrstuvwxyz",
        [8.2, 1.4, 3.2, 4.0, 13.5, 1.4, 1.8, 3.0, 7.4, 0.3, 0.9, 4.3, 2.7, 7.3, 6.6, 2.4, 0.4, 6.6, 6.6, 7.4, 3.6, 1.4,
         0.9, 0.2, 1.0, 0.6],
        strict=True,
    )
)  # fmt: skip
"""Percent of each letter, the mean of English, German, French, Spanish, Italian and Portuguese.

Source: the frequency tables in Friedman, Military Cryptanalytics, part I, and Lewand, Cryptological Mathematics.
"""


def is_garbled(text: str, unmapped: int = 0) -> bool:
    """True where `text` (of a whole page) is no text that a person could read.

    `unmapped` counts characters for which the font gives no meaning. Two signs: a fifth of the characters mean nothing
    (replacement characters, private use, controls, unassigned, unmapped), or the Latin letters are distributed as in no
    language, as with fonts whose letters were renumbered. Numbers, code and other scripts are no sign.
    """
    visible = [c for c in text if not c.isspace()]
    if not visible:
        return False
    meaningless = sum(c == "\ufffd" or unicodedata.category(c) in ("Co", "Cc", "Cn", "Cs") for c in visible)
    if max(meaningless, unmapped) > MAX_MEANINGLESS_SHARE * len(visible):
        return True
    return _is_no_language(text)


MIN_TOKENS, MAX_ODD_TOKENS = 25, 0.2
"""Words that a text layer needs before their shapes say anything, and the share of misshapen ones that makes it poor.

Source: measured on 89 pages of digital PDFs of the development corpus: at most .175, formulas and broken fonts among
them; with a fifth of the letters replaced by letters and signs of the keyboard over 40 % of them have more."""

_TOKEN = re.compile(r"[^\s—–…·•/|]+")
_AROUND = ".,;:!?()[]{}<>\"'“”‘’«»„…*-–—/|"
_WHOLE = re.compile(
    r"[^\W\d_]+(?:['’\-–/.&@+_][^\W\d_]+)*|[\d.,:/\-–%°§#+$€£¥]+[^\W\d_]{0,3}|[A-Z]{1,5}[\-.]?\d[\w\-./]*|\W+"
)
_VOWELS_OF_ALL = frozenset("aeiouyäöüåæøœáàâãéèêëíìîïóòôõúùûýÿ")


def is_poor_layer(text: str) -> bool:
    """True where `text`, which an OCR program laid over a scan, has so many misshapen words that another should try."""
    tokens = [bare for match in _TOKEN.finditer(text[:50_000]) if (bare := match[0].strip(_AROUND))]
    tokens = [token for token in tokens if _is_latin(token)]
    if len(tokens) < MIN_TOKENS:
        return False
    return sum(_is_misshapen(token) for token in tokens) > MAX_ODD_TOKENS * len(tokens)


def _is_latin(token: str) -> bool:
    """True where `token` has letters, all of them Latin: of words in other scripts the shapes say nothing."""
    letters = [c.lower() for c in token if c.isalpha()]
    return bool(letters) and all("a" <= c <= "\u024f" for c in letters)


def _is_misshapen(token: str) -> bool:
    """True for a mix of letters, digits and signs, for capitals inside a word, and for long words without a vowel."""
    if _WHOLE.fullmatch(token) is None:
        return True
    letters = [c for c in token if c.isalpha()]
    if len(letters) < 4 or not all("a" <= c.lower() <= "\u024f" for c in letters):
        return False
    changes = sum(a.islower() and b.isupper() for a, b in itertools.pairwise(token))
    no_vowel = not any(c in _VOWELS_OF_ALL for c in token.lower()) and not token.isupper()
    return changes > 1 or no_vowel


def _is_no_language(text: str) -> bool:
    plain = unicodedata.normalize("NFD", text).lower()
    counts = Counter(c for c in plain if "a" <= c <= "z")
    letters = counts.total()
    others = sum(c.isalpha() for c in plain) - letters
    if letters < MIN_LETTERS or others > letters:
        return False
    # One word on every row of a table, or of a log, has the letters of no language; garbled prose does in every word.
    distinct = Counter("".join(set(_LETTER_RUN.findall(plain))))
    return distinct.total() >= MIN_DISTINCT_LETTERS and _is_odd(counts) and _is_odd(distinct)


def _is_odd(counts: Counter[str]) -> bool:
    """True where letters are distributed as in no language."""
    vowels = sum(counts[v] for v in VOWELS) / counts.total()
    odd = not VOWEL_SHARES[0] < vowels < VOWEL_SHARES[1]
    return resemblance(counts) < (DOUBTFUL_RESEMBLANCE if odd else MIN_RESEMBLANCE)


def resemblance(counts: Counter[str]) -> float:
    """Cosine of letter counts to the mean frequencies of European languages, 0 to 1."""
    dot = sum(counts[c] * share for c, share in _LETTERS.items())
    size = math.sqrt(sum(n * n for n in counts.values())) * math.sqrt(sum(s * s for s in _LETTERS.values()))
    return dot / size if size else 0.0
