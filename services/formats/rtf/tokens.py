"""Cuts Rich Text Format into its tokens.

From front to back, holding no more than one.

Source: Rich Text Format Specification 1.9.1 (Microsoft, 2008), "Conventions of an RTF Reader".
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum, auto
from mmap import mmap


class Kind(Enum):
    OPEN = auto()
    CLOSE = auto()
    WORD = auto()
    """A control word; `word` and perhaps `number`."""
    BYTE = auto()
    """A character as `\\'hh`; `number` is the byte."""
    TEXT = auto()
    """Characters as they are, from `start` to `end` of the data."""
    BINARY = auto()
    """Bytes of a picture, from `start` to `end` of the data."""


@dataclass(frozen=True, slots=True)
class Token:
    kind: Kind
    start: int
    end: int
    word: str = ""
    number: int | None = None


_TOKEN = re.compile(
    rb"(?P<brace>[{}])|\\(?:(?P<word>[a-zA-Z]{1,32})(?P<number>-?\d{1,10})? ?"
    rb"|'(?P<hex>[0-9a-fA-F]{2})|(?P<sign>[^a-zA-Z]))"
    rb"|(?P<newline>[\r\n\x00]+)|(?P<text>[^\\{}\r\n\x00]+)",
    re.S,
)


def tokens(data: bytes | mmap) -> Iterator[Token]:
    """The tokens of `data`; line ends of the file mean nothing and are left out."""
    at, size = 0, len(data)
    while at < size:
        match = _TOKEN.match(data, at)
        if match is None:
            at += 1
            continue
        start, at = match.span()
        match match.lastgroup:
            case "text":
                yield Token(Kind.TEXT, start, at)
            case "brace":
                yield Token(Kind.OPEN if match.group() == b"{" else Kind.CLOSE, start, at)
            case "word" | "number":
                word, number = match.group("word").decode("ascii"), match.group("number")
                value = int(number) if number is not None else None
                if word == "bin" and value is not None and value > 0:
                    yield Token(Kind.BINARY, at, min(size, at + value))
                    at = min(size, at + value)
                else:
                    yield Token(Kind.WORD, start, at, word, value)
            case "hex":
                yield Token(Kind.BYTE, start, at, "", int(match.group("hex"), 16))
            case "sign":
                yield Token(Kind.WORD, start, at, match.group("sign").decode("latin-1"))
            case _:
                pass
