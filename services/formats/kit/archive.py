"""Opens zip archives from strangers within bounds.

What they declare is checked before, and what they hold while it is inflated.
"""

from __future__ import annotations

import lzma
import struct
import zipfile
import zlib
from collections.abc import Generator, Sequence
from pathlib import Path
from types import TracebackType
from typing import BinaryIO

from services.content import Limits
from services.errors import EncryptedDocument, TooLarge, UnreadableDocument

_END = b"PK\x05\x06"
_END_RECORD = struct.Struct("<4s4H2LH")
_END64 = b"PK\x06\x06"
_END64_RECORD = struct.Struct("<4sQ2H2L4Q")
_END64_LOCATOR = struct.Struct("<4sLQL")
"""Source: APPNOTE.TXT 6.3.10, sections 4.3.14 to 4.3.16."""

_DIRECTORY_BYTES_PER_ENTRY = 1024
"""A directory that needs more than this per allowed entry is refused. Source: 46 bytes and the name make an entry, and
names of real archives stay below 260 characters."""

_RATIO_APPLIES_FROM = 10_000_000
"""Bytes below which the ratio says nothing: small XML parts of honest files compress by 100 and more."""

_STEP = 1 << 18

MEMBER_DAMAGE = (
    zipfile.BadZipFile, zlib.error, lzma.LZMAError, struct.error, EOFError, OSError, ValueError, NotImplementedError,
    RuntimeError,
)  # fmt: skip
"""What zipfile lets through while it inflates a damaged member: of its decoders, and of names that are no UTF-8."""


def list_members(path: Path, limits: Limits) -> Sequence[zipfile.ZipInfo]:
    """The members that the central directory of the zip file at `path` declares.

    Nothing is inflated.

    Raises TooLarge (`too_many_entries`) before the directory is read, and UnreadableDocument (`corrupt_archive`).
    """
    with _open_zip(path, limits) as archive:
        return archive.infolist()


def _open_zip(path: Path, limits: Limits) -> zipfile.ZipFile:
    """The zip file at `path`, its directory read and bounded.

    Raises as `list_members` does.
    """
    with path.open("rb") as file:
        _check_directory(file, limits)
    try:
        archive = zipfile.ZipFile(path)
    except (zipfile.BadZipFile, struct.error, ValueError, OSError, NotImplementedError) as error:
        raise _corrupt() from error
    if len(archive.infolist()) > limits.max_archive_entries:
        archive.close()
        raise _too_many(len(archive.infolist()), limits)
    return archive


def check_declared_sizes(members: Sequence[zipfile.ZipInfo], limits: Limits) -> None:
    """Raises TooLarge (`archive_too_large`, `compression_ratio`) where the members say of themselves that they are."""
    unpacked = sum(member.file_size for member in members)
    packed = sum(member.compress_size for member in members)
    _check_sizes(unpacked, packed, limits)


def _check_sizes(unpacked: int, packed: int, limits: Limits, *, of_part: bool = False) -> None:
    if unpacked > limits.max_unpacked_bytes:
        if of_part:
            raise part_too_large(limits.max_unpacked_bytes)
        raise TooLarge(
            f"The file would unpack to more than {limits.max_unpacked_bytes:,} bytes, which is the limit.",
            code="archive_too_large",
            facts={"limit_bytes": limits.max_unpacked_bytes},
        )
    if unpacked > _RATIO_APPLIES_FROM and unpacked > limits.max_unpack_ratio * max(1, packed):
        raise TooLarge(
            f"{'A part' if of_part else 'The file'} unpacks to more than {limits.max_unpack_ratio} times its size, as "
            "a zip bomb does.",
            code="compression_ratio",
            facts={"limit_ratio": limits.max_unpack_ratio},
        )


def part_too_large(limit_bytes: int) -> TooLarge:
    """The error for a member that holds more than is read of one."""
    return TooLarge(
        f"A part of the file unpacks to more than {limit_bytes:,} bytes, which is the limit.",
        code="archive_too_large",
        facts={"limit_bytes": limit_bytes},
    )


class InflationBudget:
    """What the members of one archive, or with `of_part` one of them, may still inflate to, whatever they declare."""

    def __init__(self, limits: Limits, *, of_part: bool = False) -> None:
        self.limits = limits
        self._of_part = of_part
        self._inflated = self._packed = 0

    def begin(self, packed_bytes: int) -> None:
        """Notes that a member of `packed_bytes` is inflated next."""
        self._packed += packed_bytes

    def spend(self, inflated_bytes: int) -> None:
        """Notes bytes that came out.

        Raises TooLarge (`archive_too_large`, `compression_ratio`).
        """
        self._inflated += inflated_bytes
        _check_sizes(self._inflated, self._packed, self.limits, of_part=self._of_part)


def _check_directory(file: BinaryIO, limits: Limits) -> None:
    size = file.seek(0, 2)
    tail_start = max(0, size - 65_557)
    file.seek(tail_start)
    tail = file.read(65_557)
    at = tail.rfind(_END)
    if at < 0 or at + _END_RECORD.size > len(tail):
        raise _corrupt()
    _, _, _, _, entries, directory_bytes, _, _ = _END_RECORD.unpack_from(tail, at)
    if entries == 0xFFFF or directory_bytes == 0xFFFFFFFF:
        entries, directory_bytes = _zip64_directory(file, tail, at, size) or (entries, directory_bytes)
    if entries > limits.max_archive_entries:
        raise _too_many(entries, limits)
    if directory_bytes > limits.max_archive_entries * _DIRECTORY_BYTES_PER_ENTRY:
        raise _too_many(directory_bytes // 46, limits)


def _zip64_directory(file: BinaryIO, tail: bytes, at: int, size: int) -> tuple[int, int] | None:
    locator_at = at - _END64_LOCATOR.size
    if locator_at < 0:
        return None
    signature, _, record_at, _ = _END64_LOCATOR.unpack_from(tail, locator_at)
    if signature != b"PK\x06\x07" or record_at + _END64_RECORD.size > size:
        return None
    file.seek(record_at)
    record = _END64_RECORD.unpack(file.read(_END64_RECORD.size))
    return (record[7], record[8]) if record[0] == _END64 else None


def _too_many(entries: int, limits: Limits) -> TooLarge:
    return TooLarge(
        f"The archive lists {entries:,} entries; the limit is {limits.max_archive_entries:,}.",
        code="too_many_entries",
        facts={"limit_entries": limits.max_archive_entries},
    )


def _corrupt() -> UnreadableDocument:
    return UnreadableDocument(
        "The archive is damaged or cut off. Upload it again, or save it anew in the program that made it.",
        code="corrupt_archive",
    )


class Archive:
    """A zip file whose members are inflated within one budget for all of them together."""

    def __init__(self, path: Path, limits: Limits) -> None:
        """Opens the file. Raises as `list_members` and `check_declared_sizes` do."""
        self._zip = _open_zip(path, limits)
        members = self._zip.infolist()
        try:
            check_declared_sizes(members, limits)
        except TooLarge:
            self._zip.close()
            raise
        self.limits = limits
        self._members = {member.filename.lstrip("/"): member for member in members}
        self._folded = {name.casefold(): name for name in self._members}
        self._budget = InflationBudget(limits)
        self.declared_bytes = sum(member.file_size for member in members)
        """What the members claim to hold together; what they do hold is checked while they are inflated."""

    def __enter__(self) -> Archive:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._zip.close()

    def find(self, name: str) -> str | None:
        """The member of that name, in whatever case it is written, as OPC compares part names; None if absent."""
        name = name.lstrip("/")
        return name if name in self._members else self._folded.get(name.casefold())

    def read(self, name: str, *, at_most: int | None = None) -> bytes | None:
        """The bytes of a member; None if there is none of that name.

        Raises as `stream` does.
        """
        return None if self.find(name) is None else b"".join(self.stream(name, at_most=at_most))

    def declared_size(self, name: str) -> int:
        """The bytes that a member claims to hold; 0 if there is none of that name."""
        found = self.find(name)
        return 0 if found is None else self._members[found].file_size

    def stream(
        self, name: str, *, at_most: int | None = None, budget: InflationBudget | None = None
    ) -> Generator[bytes]:
        """The bytes of a member piece by piece; none at all if there is none of that name.

        Counts against `budget`, else against that of all members together. Raises TooLarge where that or `at_most` is
        passed; EncryptedDocument; UnreadableDocument (`corrupt_archive`).
        """
        found = self.find(name)
        if found is None:
            return
        member = self._members[found]
        if member.flag_bits & 0x1:
            raise EncryptedDocument("The archive is protected by a password. Save the document without it.")
        budget = budget or self._budget
        budget.begin(member.compress_size)
        size = 0
        try:
            with self._zip.open(member) as stream:
                while part := stream.read(_STEP):
                    size += len(part)
                    budget.spend(len(part))
                    if at_most is not None and size > at_most:
                        raise part_too_large(at_most)
                    yield part
        except MEMBER_DAMAGE as error:
            raise _corrupt() from error
