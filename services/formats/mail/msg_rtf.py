"""The body of an Outlook mail in compressed RTF, for the mails that have no other."""

from __future__ import annotations

import struct

from services.content import Limits

_HEADER = struct.Struct("<III")
_COMPRESSED, _PLAIN = 0x75465A4C, 0x414C454D
_DICTIONARY = (
    b"{\\rtf1\\ansi\\mac\\deff0\\deftab720{\\fonttbl;}{\\f0\\fnil \\froman \\fswiss \\fmodern \\fscript \\fdecor MS "
    b"Sans SerifSymbolArialTimes New RomanCourier{\\colortbl\\red0\\green0\\blue0\r\n\\par "
    b"\\pard\\plain\\f0\\fs20\\b\\i\\u\\tab\\tx"
)
"""What the compressor takes for granted. Source: MS-OXRTFCP, section 2.1.2.1."""
_WINDOW = 4096
_MAX_BYTES = 50_000_000


def decompress_rtf(data: bytes) -> bytes:
    """The RTF in `data` as far as it is whole; empty where it is none.

    Source: MS-OXRTFCP, section 2.2.
    """
    if len(data) < 16:
        return b""
    _, raw_size, kind = _HEADER.unpack_from(data)
    if kind == _PLAIN:
        return data[16 : 16 + raw_size]
    if kind != _COMPRESSED:
        return b""
    window = bytearray(_DICTIONARY.ljust(_WINDOW, b"\0"))
    write = len(_DICTIONARY)
    out = bytearray()
    at = 16
    while at < len(data) and len(out) < _MAX_BYTES:
        control = data[at]
        at += 1
        for bit in range(8):
            if at >= len(data):
                break
            if not control >> bit & 1:
                piece = data[at : at + 1]
                at += 1
            else:
                if at + 1 >= len(data):
                    return bytes(out)
                token = data[at] << 8 | data[at + 1]
                at += 2
                read, length = token >> 4, (token & 0xF) + 2
                if read == write:
                    return bytes(out)
                piece = _copied(window, read, length, write)
            out += piece
            for byte in piece:
                window[write] = byte
                write = (write + 1) % _WINDOW
    return bytes(out)


def _copied(window: bytearray, read: int, length: int, write: int) -> bytes:
    """What a reference stands for; it may run into the bytes that it makes itself."""
    made = bytearray()
    for step in range(length):
        place = (read + step) % _WINDOW
        ahead = (place - write) % _WINDOW
        made.append(made[ahead] if ahead < len(made) else window[place])
    return bytes(made)


def text_of_rtf(rtf: bytes, limits: Limits) -> str:
    """The text of an RTF body, also of one that wraps HTML.

    Raises UnreadableDocument (`nesting_too_deep`).
    """
    from services.formats.rtf.parser import RtfReader

    return "\n\n".join(page.builder.build().text for page in RtfReader(rtf, limits).read()).strip()
