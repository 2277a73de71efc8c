"""Tells which of the installed languages a page is written in.

Its script by `osd`, then whose data reads a sample best.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from services.ocr.tesseract.drivers import Orientation

if TYPE_CHECKING:
    from services.ocr.tesseract.reading import TesseractPage

LATIN = "Latin"
_LANGUAGES_OF = {
    "Arabic": "ara fas kur_ara pus snd uig urd",
    "Armenian": "hye",
    "Bengali": "asm ben",
    "Canadian_Aboriginal": "iku",
    "Cherokee": "chr",
    "Cyrillic": "aze_cyrl bel bul kaz kir mkd mon rus srp tat tgk ukr uzb_cyrl",
    "Devanagari": "hin mar nep san",
    "Ethiopic": "amh tir",
    "Georgian": "kat kat_old",
    "Greek": "ell grc",
    "Gujarati": "guj",
    "Gurmukhi": "pan",
    "Han": "chi_sim chi_sim_vert chi_tra chi_tra_vert",
    "Hangul": "kor kor_vert",
    "Hebrew": "heb yid",
    "Japanese": "jpn jpn_vert",
    "Kannada": "kan",
    "Khmer": "khm",
    "Lao": "lao",
    "Malayalam": "mal",
    "Myanmar": "mya",
    "Oriya": "ori",
    "Sinhala": "sin",
    "Syriac": "syr",
    "Tamil": "tam",
    "Telugu": "tel",
    "Thaana": "div",
    "Thai": "tha",
    "Tibetan": "bod dzo",
}
"""Source: Tesseract's langdata and the script names of its osd.traineddata; what is not here is Latin."""
_SCRIPT_OF = {code: script for script, codes in _LANGUAGES_OF.items() for code in codes.split()}
_SAME_SCRIPT = {"Korean": "Hangul", "Katakana": "Japanese", "Hiragana": "Japanese", "Fraktur": LATIN, "Common": LATIN}
"""Further names that `osd` gives."""

SCRIPT_GATE = 0.5
"""`osd`'s script confidence from which it is believed; else the languages of every script are tried."""

ALIKE = 0.01
"""A second language is read beside the best where its mean confidence on the sample is within this of the best's.

Source: measured on four English pages: German data is .013 to .022 less sure of them than English data."""

MOST_TRIED = 12
"""Languages that a sample is read in; with more installed, those of the page's script that come first by code."""


def script_of(language: str) -> str:
    """`osd`'s word for the script that a language of Tesseract is written in.

    A script's own data is `script/Name`.
    """
    folder, _, name = language.rpartition("/")
    if folder:
        return _SAME_SCRIPT.get(name, name)
    return _SCRIPT_OF.get(language, LATIN)


def candidates(installed: Sequence[str], found: Orientation | None) -> list[str]:
    """The languages of `installed` that a page of the script `found` may be written in.

    All where that is not known.
    """
    languages = [code for code in installed if "/" not in code] or list(installed)
    if found is not None and found.script_confidence >= SCRIPT_GATE:
        script = _SAME_SCRIPT.get(found.script, found.script)
        languages = [code for code in languages if script_of(code) == script] or languages
    return languages[:MOST_TRIED]


def detect_languages(page: TesseractPage, installed: Sequence[str]) -> tuple[str, ...]:
    """One or two of `installed`, the likelier first, that `page` is written in.

    Raises as reading it does.
    """
    if len(installed) == 1:
        return tuple(installed)
    found = page.orientation()
    tried = candidates(installed, found)
    if len(tried) == 1:
        return tuple(tried)
    sample = page.sample(0 if found is None else found.turn)
    sure = {code: sample.read_in(code) for code in tried}
    ranked = sorted(tried, key=lambda code: -sure[code])
    return tuple(code for code in ranked[:2] if sure[code] >= sure[ranked[0]] - ALIKE)
