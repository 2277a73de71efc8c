"""Writes zip archives with the old encryption, which zipfile only reads."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Mapping


class _Keys:
    """Source: APPNOTE.TXT 6.3.10, section 6.1."""

    def __init__(self, password: bytes) -> None:
        self._keys = [0x12345678, 0x23456789, 0x34567890]
        for byte in password:
            self._update(byte)

    def encrypt(self, data: bytes) -> bytes:
        out = bytearray()
        for byte in data:
            mixed = self._keys[2] | 2
            out.append(byte ^ (mixed * (mixed ^ 1) >> 8 & 0xFF))
            self._update(byte)
        return bytes(out)

    def _update(self, byte: int) -> None:
        first, second, third = self._keys
        first = _crc(byte, first)
        second = ((second + (first & 0xFF)) * 134775813 + 1) & 0xFFFFFFFF
        self._keys = [first, second, _crc(second >> 24, third)]


def _crc(byte: int, crc: int) -> int:
    return crc >> 8 ^ zlib.crc32(bytes([(crc ^ byte) & 0xFF]), 0xFFFFFFFF) ^ 0xFFFFFFFF


def encrypted_zip(members: Mapping[str, bytes], password: bytes) -> bytes:
    """An archive whose members are stored and encrypted."""
    body, directory = bytearray(), bytearray()
    for name, data in members.items():
        crc = zlib.crc32(data)
        locked = _Keys(password).encrypt(bytes(11) + bytes([crc >> 24]) + data)
        raw = name.encode()
        common = struct.pack("<HHHHHIIIHH", 20, 1, 0, 0, 0x5C21, crc, len(locked), len(data), len(raw), 0)
        offset = len(body)
        body += b"PK\x03\x04" + common + raw + locked
        directory += b"PK\x01\x02" + struct.pack("<H", 20) + common + struct.pack("<HHHII", 0, 0, 0, 0, offset) + raw
    end = struct.pack("<HHHHIIH", 0, 0, len(members), len(members), len(directory), len(body), 0)
    return bytes(body + directory) + b"PK\x05\x06" + end
