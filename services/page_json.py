"""Packs a page's words and blocks into compact JSON, and back: for the pipe from the child and for the store."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from services.content import Block, BlockKind, Box, Mark, MarkKind, Page, TextSource, Word

Json = dict[str, Any]

_LARGEST_INTEGER = 2**31 - 1
"""Of a column in every database."""


def pack_layout(page: Page) -> Json:
    """`{"words": [[text, x0, y0, x1, y1, char_start, char_end, confidence|null], ...], "blocks": [{...}, ...]}`.

    `"marks": [[kind, char_start, char_end, target], ...]` and `"engine"` are there where the page has them.
    """
    layout: Json = {
        "words": [[w.text, *w.box, w.char_start, w.char_end, w.confidence] for w in page.words],
        "blocks": [_pack_block(b) for b in page.blocks],
    }
    if page.marks:
        layout["marks"] = [[m.kind.value, m.char_start, m.char_end, m.target] for m in page.marks]
    if page.engine:
        layout["engine"] = page.engine
    return layout


def _pack_block(block: Block) -> Json:
    packed: Json = {"kind": block.kind.value, "char_start": block.char_start, "char_end": block.char_end}
    if block.level:
        packed["level"] = block.level
    if block.box is not None:
        packed["box"] = list(block.box)
    if block.rows:
        packed["rows"] = [list(row) for row in block.rows]
    if block.ordered:
        packed["ordered"] = True
    if block.language:
        packed["language"] = block.language
    if block.hidden:
        packed["hidden"] = True
    if block.continues:
        packed["continues"] = True
    return packed


def unpack_words(layout: Mapping[str, Any]) -> tuple[Word, ...]:
    """The words that `pack_layout` packed. Raises ValueError where a row is malformed."""
    return tuple(_unpack_word(row) for row in layout.get("words", ()))


def unpack_blocks(layout: Mapping[str, Any]) -> tuple[Block, ...]:
    """The blocks that `pack_layout` packed. Raises ValueError where one is malformed."""
    return tuple(_unpack_block(item) for item in layout.get("blocks", ()))


def unpack_marks(layout: Mapping[str, Any]) -> tuple[Mark, ...]:
    """The marks that `pack_layout` packed. Raises ValueError where one is malformed."""
    return tuple(
        Mark(MarkKind(kind), int(start), int(end), str(target)) for kind, start, end, target in layout.get("marks", ())
    )


def _unpack_word(row: Sequence[Any]) -> Word:
    text, x0, y0, x1, y1, start, end, confidence = row
    return Word(
        str(text), box_of((x0, y0, x1, y1)), int(start), int(end), None if confidence is None else float(confidence)
    )


def _unpack_block(item: Mapping[str, Any]) -> Block:
    box = item.get("box")
    return Block(
        kind=BlockKind(item["kind"]),
        char_start=int(item["char_start"]),
        char_end=int(item["char_end"]),
        level=int(item.get("level", 0)),
        box=None if box is None else box_of(box),
        rows=tuple(tuple(str(cell) for cell in row) for row in item.get("rows", ())),
        ordered=bool(item.get("ordered", False)),
        language=str(item.get("language", "")),
        hidden=bool(item.get("hidden", False)),
        continues=bool(item.get("continues", False)),
    )


def box_of(numbers: Sequence[Any]) -> Box:
    """Four finite numbers as a box. Raises ValueError."""
    x0, y0, x1, y1 = (float(n) for n in numbers)
    if not all(math.isfinite(n) for n in (x0, y0, x1, y1)):
        raise ValueError("a box holds a number that is not finite")
    return (x0, y0, x1, y1)


def pack_page(page: Page) -> Json:
    """The whole page as JSON; `unpack_page` gives it back."""
    return {
        "number": page.number,
        "text": page.text,
        "width": page.width,
        "height": page.height,
        "source": page.source.value,
        "reason": page.reason,
        "rotation": page.rotation,
        "confidence": page.confidence,
        "languages": list(page.languages),
        "elapsed_ms": page.elapsed_ms,
        "layout": pack_layout(page),
    }


def unpack_page(packed: Mapping[str, Any]) -> Page:
    """A page as `pack_page` packed it, checked: offsets inside the text and in order, numbers finite.

    Raises AttributeError, KeyError, OverflowError, TypeError or ValueError where it is not such a page.
    """
    text = packed["text"]
    if not isinstance(text, str):
        raise TypeError("a page's text must be a string")
    text.encode("utf-8")  # a lone surrogate could be neither stored nor sent
    words = unpack_words(packed["layout"])
    blocks = unpack_blocks(packed["layout"])
    marks = unpack_marks(packed["layout"])
    runs = [(part.char_start, part.char_end) for part in words] + [(mark.char_start, mark.char_end) for mark in marks]
    for start, stop in runs:
        if not 0 <= start <= stop <= len(text):
            raise ValueError("the offsets of a word or a mark lie outside its page")
    end = 0
    for block in blocks:
        if not end <= block.char_start <= block.char_end <= len(text):
            raise ValueError("a block's offsets overlap or lie outside its page")
        end = block.char_end
    number, confidence = int(packed["number"]), float(packed["confidence"])
    rotation, elapsed_ms = int(packed["rotation"]), int(packed["elapsed_ms"])
    if max(number, abs(rotation), abs(elapsed_ms)) > _LARGEST_INTEGER:
        raise ValueError("a page's number, rotation or time is out of range")
    width, height = float(packed["width"]), float(packed["height"])
    if number < 1 or not 0.0 <= confidence <= 1.0 or not (math.isfinite(width) and math.isfinite(height)):
        raise ValueError("a page's number, size or confidence is out of range")
    return Page(
        number=number,
        text=text,
        words=words,
        blocks=blocks,
        marks=marks,
        width=width,
        height=height,
        source=TextSource(packed["source"]),
        reason=str(packed["reason"]),
        rotation=rotation,
        confidence=confidence,
        languages=tuple(str(name) for name in packed["languages"]),
        engine=str(packed["layout"].get("engine", "")),
        elapsed_ms=elapsed_ms,
    )
