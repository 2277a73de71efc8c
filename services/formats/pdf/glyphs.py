"""Decodes the characters that a PDF's fonts call by codes of their own.

Also joins words that were set with space between the letters.
"""

from __future__ import annotations

import itertools
import re

from services.ocr.layout import Line, LooseWord, union

LIGATURES = {
    0xFB00: "ff", 0xFB01: "fi", 0xFB02: "fl", 0xFB03: "ffi", 0xFB04: "ffl", 0xFB05: "st", 0xFB06: "st",
}  # fmt: skip
"""Source: Unicode, Alphabetic Presentation Forms."""

TEX_LIGATURES = {
    0x0B: 0xFB00, 0x0C: 0xFB01, 0x0D: 0xFB02, 0x0E: 0xFB03, 0x0F: 0xFB04,
    0x1B: 0xFB00, 0x1C: 0xFB01, 0x1D: 0xFB02, 0x1E: 0xFB03, 0x1F: 0xFB04,
    0x21B5: 0xFB00, 0x00: 0xFB03,
}  # fmt: skip
"""Codes of ligatures in TeX's fonts, which come through where a font has no map to Unicode.

Source: the encodings OT1 (from 0x0B) and T1 (from 0x1B) in the LaTeX encoding guide, sections 8.1 and 8.2; the last two
are what PDFium gives for ff and ffi of Computer Modern fonts that went through Apple's Quartz."""

_TEX_FONT = re.compile(r"(?:[A-Z]{6}\+)?(?:CM|LM|SF|EC|CMU)[A-Z]{1,6}\d{1,4}$", re.I)

_SYMBOL = {
    0xB7: "•", 0xA7: "♣", 0xA8: "♦", 0xAE: "→", 0xB0: "°", 0xB1: "±", 0xB2: "″", 0xB3: "≥", 0xA3: "≤", 0xB4: "×",
    0xB9: "≠", 0xBA: "≡", 0xBB: "≈", 0xBC: "…", 0xD6: "√", 0xD7: "⋅", 0xE5: "∑", 0xF2: "∫", 0xB6: "∂", 0xA5: "∞",
    0x61: "α", 0x62: "β", 0x63: "χ", 0x64: "δ", 0x65: "ε", 0x66: "φ", 0x67: "γ", 0x68: "η", 0x6B: "κ", 0x6C: "λ",
    0x6D: "μ", 0x6E: "ν", 0x70: "π", 0x71: "θ", 0x72: "ρ", 0x73: "σ", 0x74: "τ", 0x77: "ω", 0x78: "ξ", 0x79: "ψ",
    0x44: "Δ", 0x46: "Φ", 0x47: "Γ", 0x4C: "Λ", 0x50: "Π", 0x51: "Θ", 0x53: "Σ", 0x57: "Ω", 0x2D: "−", 0xD2: "®",
    0xD3: "©", 0xD4: "™", 0xE2: "®", 0xE3: "©", 0xE4: "™",
}  # fmt: skip
"""Source: ISO 32000-1, annex D.5, the Symbol character set."""

_WINGDINGS = {
    0xA7: "▪", 0xD8: "➢", 0xFC: "✓", 0xFB: "✗", 0xFD: "☒", 0xFE: "☑", 0x6C: "●", 0x6E: "■", 0x6F: "□", 0x71: "❑",
    0x72: "❒", 0x76: "❖", 0xA8: "◻", 0x9F: "•", 0x77: "⬥", 0xE0: "→", 0xE8: "➔", 0xF0: "⇨", 0x4A: "☺", 0x28: "☎",
    0x2A: "✉", 0x46: "☞", 0xB7: "•",
}  # fmt: skip
"""Source: Unicode document L2/11-344, the mapping of Wingdings."""

_SYMBOLIC_NAMES = ("wingding", "webding", "dingbat", "symbol", "awesome", "icon", "marlett")

_MIN_SPACED = 5
"""Single letters in a row from which they are one word that was set wide; formulas have fewer."""


def is_tex_font(name: str) -> bool:
    """True for the fonts that TeX makes: Computer Modern and what was drawn after it."""
    return _TEX_FONT.match(name) is not None


def private_character(code: int, font: str) -> str:
    """What a character of Unicode's private use area means in the font of that name.

    Itself where nobody knows.
    """
    low = code - 0xF000
    if not 0x20 <= low <= 0xFF:
        return chr(code)
    name = font.lower()
    if "wingding" in name:
        return _WINGDINGS.get(low, chr(code))
    if "symbol" in name:
        return _SYMBOL.get(low, chr(low) if chr(low).isdigit() or chr(low) in "()[]{}+=<>/.,:;|" else chr(code))
    if any(word in name for word in _SYMBOLIC_NAMES):
        return chr(code)
    if low < 0x7F:
        return chr(low)
    # A bullet out of a font without a name: these are Word's first three.
    return {0xB7: "•", 0xA7: "▪", 0xD8: "➢", 0xFC: "✓"}.get(low, chr(code))


def join_spaced(line: Line) -> None:
    """Joins the letters of `line` that stand apart to look wide, as in `S U M M A R Y`, into words."""
    words = line.words
    if len(words) < _MIN_SPACED or sum(_is_letter(word) for word in words) < _MIN_SPACED:
        return
    joined: list[LooseWord] = []
    for single, group in itertools.groupby(words, key=_is_letter):
        run = list(group)
        joined.extend(_merged(run, line.size) if single and len(run) >= _MIN_SPACED else run)
    line.words = joined


def _is_letter(word: LooseWord) -> bool:
    return len(word.text) == 1 and word.text.isalpha() and not word.joined


def _merged(run: list[LooseWord], size: float) -> list[LooseWord]:
    """The words of a run of letters, parted where a gap is clearly wider than usual.

    The run where none is usual.
    """
    gaps = [b.box[0] - a.box[2] for a, b in itertools.pairwise(run)]
    usual = sorted(gaps)[len(gaps) // 2]
    if not 0 < usual <= 1.2 * size or not (
        all(w.text.isupper() for w in run) or all(w.text.islower() for w in run[1:])
    ):
        return run
    words = [[run[0]]]
    for gap, letter in zip(gaps, run[1:], strict=True):
        if gap > 1.7 * usual + 0.1 * size:
            words.append([])
        words[-1].append(letter)
    if max(len(word) for word in words) < _MIN_SPACED - 1:
        return run
    return [LooseWord("".join(w.text for w in word), union([w.box for w in word])) for word in words]
