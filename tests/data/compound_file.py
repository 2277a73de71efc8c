"""Writes OLE compound files (MS-CFB, version 3), which no library that the tests use can do."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import pairwise

Tree = Mapping[str, "bytes | Tree"]

SECTOR, MINI_SECTOR, CUTOFF = 512, 64, 4096
FREE, END, FAT_SECTOR, NONE = 0xFFFFFFFF, 0xFFFFFFFE, 0xFFFFFFFD, 0xFFFFFFFF


@dataclass
class _Entry:
    name: str
    kind: int
    data: bytes = b""
    child: int = NONE
    right: int = NONE
    start: int = END
    size: int = 0
    kids: list[int] = field(default_factory=list)


def compound_file(tree: Tree) -> bytes:
    """The bytes of a compound file with these streams (bytes) and storages (mappings)."""
    entries = [_Entry("Root Entry", 5)]
    todo: list[tuple[int, Tree]] = [(0, tree)]
    while todo:
        number, inside = todo.pop()
        # Names are ordered by length, then by their upper case. Source: MS-CFB, section 2.6.4.
        for name in sorted(inside, key=lambda n: (len(n), n.upper())):
            value = inside[name]
            entries[number].kids.append(len(entries))
            if isinstance(value, bytes):
                entries.append(_Entry(name, 2, value, size=len(value)))
            else:
                todo.append((len(entries), value))
                entries.append(_Entry(name, 1))
        kids = entries[number].kids
        if kids:
            entries[number].child = kids[0]
        for kid, following in pairwise(kids):
            entries[kid].right = following
    fat: list[int] = []
    body = bytearray()
    mini_fat: list[int] = []
    mini = bytearray()

    def store(data: bytes, table: list[int], target: bytearray, unit: int) -> int:
        count = -(-len(data) // unit)
        if not count:
            return END
        start = len(table)
        table.extend([*range(start + 1, start + count), END])
        target.extend(data.ljust(count * unit, b"\0"))
        return start

    for entry in entries:
        if entry.kind == 2 and entry.size:
            small = entry.size < CUTOFF
            entry.start = store(entry.data, *((mini_fat, mini, MINI_SECTOR) if small else (fat, body, SECTOR)))
    entries[0].size = len(mini)
    entries[0].start = store(bytes(mini), fat, body, SECTOR)
    packed_mini_fat = b"".join(struct.pack("<I", n) for n in mini_fat)
    mini_fat_start = store(
        packed_mini_fat.ljust(-(-len(packed_mini_fat) // SECTOR) * SECTOR, b"\xff"), fat, body, SECTOR
    )
    directory = b"".join(map(_directory_entry, entries))
    directory_start = store(directory.ljust(-(-len(directory) // SECTOR) * SECTOR, b"\0"), fat, body, SECTOR)
    fat_sectors = 1
    while fat_sectors * (SECTOR // 4) < len(fat) + fat_sectors:
        fat_sectors += 1
    first_fat = len(fat)
    fat += [FAT_SECTOR] * fat_sectors
    packed_fat = b"".join(struct.pack("<I", n) for n in fat).ljust(fat_sectors * SECTOR, b"\xff")
    header = struct.pack(
        "<8s16x5H6xIIIIIIIII", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", 0x3E, 3, 0xFFFE, 9, 6,
        0, fat_sectors, directory_start, 0, CUTOFF,
        mini_fat_start, -(-len(packed_mini_fat) // SECTOR), END, 0,
    )  # fmt: skip
    listed = [first_fat + n for n in range(fat_sectors)]
    return header + struct.pack("<109I", *listed, *[FREE] * (109 - fat_sectors)) + bytes(body) + packed_fat


def _directory_entry(entry: _Entry) -> bytes:
    name = entry.name.encode("utf-16-le") + b"\0\0"
    return struct.pack(
        "<64sHBBIII16xIQQIQ", name, len(name), entry.kind, 1, NONE, entry.right, entry.child, 0, 0, 0,
        entry.start if entry.kind != 1 else 0, entry.size,
    )  # fmt: skip
