"""Finds captions, and the picture that each belongs to.

They are told by their first words.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from services.content import Block, BlockKind, Box

MAX_CAPTION_CHARS = 700

_CAPTION = re.compile(
    r"(?P<word>fig(?:ure|ura|uur|ur)?s?|table|tableau|tabelle|tabella|tabla|tabela|tabell|tabel|tabulka|tab|tablo|"
    r"abbildung|abb|grafik|schaubild|diagramm|quadro|cuadro|ilustraci[oó]n|illustration|scheme|schema|chart|exhibit|example|beispiel|exemple|ejemplo|esempio|"
    r"plate|photo|foto|listing|algorithm|afbeelding|rysunek|rys|obr[aá]zek|obr|[sş]ekil|hình|bảng|рисунок|рис|таблица|"
    r"табл|figuur|taulukko|kuva|ábra|táblázat|εικόνα|πίνακας|σχήμα|شكل|جدول|图|圖|表|図|그림|표)"
    r"\.?\s*(?P<number>[A-Z]?\d{1,3}(?:[.\-–]\d{1,3})*[a-z]?|[IVXL]{1,6}|[A-Z])(?P<stop>\s*[.:|–—)]|\s*$|\s)\s*(?P<rest>.*)",
    re.I | re.S,
)
"""The words for figures and tables with their number, in some thirty languages."""

CAPTION_REACH_PT = 60.0
"""Points between a picture and the caption that belongs to it, at most."""


def starts_caption(text: str) -> bool:
    """True where a line begins as captions do, with a stop behind the number: it begins a block of its own."""
    match = _CAPTION.match(text)
    return match is not None and match["stop"].strip() in (".", ":", "|") and bool(match["rest"])


def is_caption(text: str) -> bool:
    """True where a block of `text` is the caption of a figure or a table."""
    match = _CAPTION.match(text)
    if match is None or len(text) > MAX_CAPTION_CHARS:
        return False
    if match["stop"].strip() or not match["rest"]:
        # "Fig. 3" alone, or a number with a stop: but not the "A" of "Table A shows".
        return bool(match["rest"]) or len(text) > 3
    # Prose goes on with a verb in small letters, a title begins with a capital; in some scripts there is neither.
    return match["number"][0].isdigit() and not match["rest"][0].islower() and len(text) <= 300


def caption_for(box: Box, text: str, blocks: Sequence[Block]) -> str:
    """The caption among `blocks` (of a page with `text`) that stands nearest above or below `box`; empty for none."""
    best, distance = "", CAPTION_REACH_PT
    for block in blocks:
        if block.kind is not BlockKind.CAPTION or block.box is None:
            continue
        if min(box[2], block.box[2]) <= max(box[0], block.box[0]):
            continue
        below, above = block.box[1] - box[3], box[1] - block.box[3]
        # Of equals the one below: figures are named under themselves, tables above.
        gap = below if below >= -10 else (above + 0.5 if above >= -10 else float("inf"))
        if gap < distance:
            best, distance = text[block.char_start : block.char_end], gap
    return " ".join(best.split())[:1000]
