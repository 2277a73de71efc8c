"""Seeded mutations of files: the same seed, sample and round give the same bytes on every machine."""

from __future__ import annotations

import io
import random
import re
import struct
import zipfile
import zlib
from collections.abc import Callable, Sequence

Mutator = Callable[[random.Random, bytes, bytes], bytes]
"""New bytes from a sample and another one."""

MAX_BYTES = 4_000_000
"""A mutation is cut here, so that duplication does not turn the fuzz into a test of the disk."""

_EDGES = (0, 1, 0x7F, 0x80, 0xFF, 0x7FFF, 0x8000, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 0x100000000)
_NUMBER = re.compile(rb"-?\d+(?:\.\d+)?")
_NUMBERS = (
    b"0",
    b"-1",
    b"4294967296",
    b"-9223372036854775808",
    b"99999999999999999999",
    b"1e308",
    b"NaN",
    b"0.0000001",
)
_STREAM_START, _STREAM_END = re.compile(rb"(?<!end)stream\r?\n"), b"endstream"


def mutate(sample: bytes, other: bytes, key: str) -> tuple[str, bytes]:
    """The kinds of mutation that `key` chooses, and what they make of `sample` and `other`."""
    rng = random.Random(key)
    kinds = list(_mutators(sample))
    names: list[str] = []
    data = sample
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        kind = rng.choice(kinds)
        names.append(kind.__name__.strip("_"))
        data = kind(rng, data, other)[:MAX_BYTES]
    return "+".join(names), data


def _mutators(sample: bytes) -> Sequence[Mutator]:
    kinds: list[Mutator] = [
        _flip_bits, _truncate, _splice, _duplicate, _cut_out, _overwrite, _edit_length, _edit_number,
    ]  # fmt: skip
    if sample.startswith(b"PK"):
        kinds += [_mutate_members] * 6
    if sample.startswith(b"%PDF"):
        kinds += [_mutate_streams] * 3
    return kinds


def _span(rng: random.Random, data: bytes) -> tuple[int, int]:
    """A piece of the data: most are small, some are most of it."""
    start = rng.randrange(len(data) + 1)
    longest = rng.choice((4, 64, 1024, len(data)))
    return start, min(len(data), start + rng.randrange(1, longest + 2))


def _flip_bits(rng: random.Random, data: bytes, other: bytes) -> bytes:
    changed = bytearray(data)
    for _ in range(rng.choice((1, 4, 16, 64)) if data else 0):
        changed[rng.randrange(len(changed))] ^= 1 << rng.randrange(8)
    return bytes(changed)


def _truncate(rng: random.Random, data: bytes, _: bytes) -> bytes:
    return data[: rng.randrange(len(data) + 1)]


def _splice(rng: random.Random, data: bytes, other: bytes) -> bytes:
    start, end = _span(rng, other)
    at = rng.randrange(len(data) + 1)
    return rng.choice((data[:at] + other[start:], data[:at] + other[start:end] + data[at:]))


def _duplicate(rng: random.Random, data: bytes, _: bytes) -> bytes:
    start, end = _span(rng, data)
    times = min(rng.choice((1, 2, 50, 2000)), max(1, MAX_BYTES // max(1, end - start)))
    return data[:end] + data[start:end] * times + data[end:]


def _cut_out(rng: random.Random, data: bytes, _: bytes) -> bytes:
    start, end = _span(rng, data)
    return data[:start] + data[end:]


def _overwrite(rng: random.Random, data: bytes, _: bytes) -> bytes:
    start, end = _span(rng, data)
    filling = rng.choice((bytes(end - start), b"\xff" * (end - start), rng.randbytes(end - start)))
    return data[:start] + filling + data[end:]


def _edit_length(rng: random.Random, data: bytes, _: bytes) -> bytes:
    """Puts a number at the edge of its range where a length or an offset may stand."""
    form, size = rng.choice((("<H", 2), (">H", 2), ("<I", 4), (">I", 4), ("<Q", 8), (">Q", 8)))
    if len(data) < size:
        return data
    at = rng.randrange(min(len(data) - size, rng.choice((256, len(data)))) + 1)
    value = rng.choice((*_EDGES, rng.getrandbits(8 * size))) & ((1 << 8 * size) - 1)
    return data[:at] + struct.pack(form, value) + data[at + size :]


def _edit_number(rng: random.Random, data: bytes, _: bytes) -> bytes:
    """Changes numbers that are written out, as in PDF, RTF, XML and SVG."""
    places = [found.span() for found in _NUMBER.finditer(data[:1_000_000])]
    for start, end in sorted(rng.sample(places, min(len(places), rng.choice((1, 1, 5)))), reverse=True):
        data = data[:start] + rng.choice(_NUMBERS) + data[end:]
    return data


_PLAIN: tuple[Mutator, ...] = (
    _flip_bits, _truncate, _splice, _duplicate, _cut_out, _overwrite, _edit_length, _edit_number,
)  # fmt: skip


def _mutate_members(rng: random.Random, data: bytes, other: bytes) -> bytes:
    """A container that is valid and holds changed members, so that what reads them is reached."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            members = [(info.filename, archive.read(info)) for info in archive.infolist()]
    except (zipfile.BadZipFile, zlib.error, ValueError, EOFError, OSError, NotImplementedError, RuntimeError):
        return _flip_bits(rng, data, other)
    if not members:
        return data
    for _ in range(rng.choice((1, 1, 3))):
        at = rng.randrange(len(members))
        name, content = members[at]
        match rng.randrange(10):
            case 0:
                del members[at]
            case 1:
                members.append((rng.choice(members)[0], content))
            case 2:
                members[at] = (name, rng.choice(members)[1])
            case _:
                members[at] = (name, rng.choice(_PLAIN)(rng, content, other)[:MAX_BYTES])
        if not members:
            break
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for name, content in members:
            archive.NameToInfo.pop(name, None)  # two members of one name are wanted here, without a warning
            info = zipfile.ZipInfo(name)
            info.compress_type = zipfile.ZIP_STORED if name == "mimetype" else zipfile.ZIP_DEFLATED
            archive.writestr(info, content)
    return out.getvalue()


def _mutate_streams(rng: random.Random, data: bytes, other: bytes) -> bytes:
    """A PDF with one compressed stream that is valid and holds changed content."""
    starts = [found.end() for found in _STREAM_START.finditer(data)]
    rng.shuffle(starts)
    for start in starts:
        end = data.find(_STREAM_END, start)
        if end < 0:
            continue
        inflate = zlib.decompressobj()
        try:
            content = inflate.decompress(data[start:end], MAX_BYTES)  # what stands behind the data is no part of it
        except zlib.error:
            continue
        packed = zlib.compress(rng.choice(_PLAIN)(rng, content, other)[:MAX_BYTES])
        return data[:start] + packed + b"\n" + data[end:]
    return _flip_bits(rng, data, other)
