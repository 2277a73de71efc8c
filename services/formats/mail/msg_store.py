"""Reads the properties of a mail in Outlook's format from its compound file.

One at a time.

Reading them here instead of with python-oxmsg keeps a mail with one broken property readable, an attachment in memory
only while it is written, and opens mails inside mails, whose property streams begin elsewhere.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from services.content import Limits
from services.errors import TooLarge, UnreadableDocument
from services.formats.kit.decoding import clean_text
from services.formats.mail.headers import decode_bytes

_STREAM, _STORAGE = 2, 1
_SHIFTS_AT = 30
_SHIFTS = (b"\x09\x00\x06\x00", b"\x0c\x00\x06\x00")
"""Where a compound file says how large its sectors are, and what it may say. Source: MS-CFB, section 2.2."""
_PROPERTIES = "__properties_version1.0"
_ENTRY = struct.Struct("<HHI8s")
_UNICODE, _EIGHT_BIT, _BINARY, _OBJECT = 0x001F, 0x001E, 0x0102, 0x000D
"""Property types. Source: MS-OXCDATA, section 2.11.1."""
_HEADER_BYTES = {"root": 32, "message": 24, "part": 8}
"""Before the first property of a top-level message, an embedded one, and a recipient or attachment.

Source: MS-OXMSG, section 2.4.1."""
_BODY_CODE_PAGE, _CODE_PAGE = 0x3FDE, 0x3FFD
_ENTRIES_PER_FILE = 30
"""Streams and storages that a recipient or an attachment takes. Source: Outlook writes 15 to 25."""
_CODE_PAGES = {20127: "ascii", 28591: "latin-1", 65000: "utf-7", 65001: "utf-8", 50220: "iso-2022-jp",
               50221: "iso-2022-jp", 50222: "iso-2022-jp", 50225: "iso-2022-kr", 51932: "euc-jp", 51949: "euc-kr",
               52936: "hz", 54936: "gb18030", 20866: "koi8-r", 21866: "koi8-u", 10000: "mac-roman"}  # fmt: skip
"""Source: Microsoft, "Code Page Identifiers"; 2859x are ISO 8859-x, the others cp<number>."""


class Properties:
    """The properties of a message, a recipient or an attachment.

    What is broken reads as if it were not there.
    """

    def __init__(self, ole: Any, entry: Any, path: tuple[str, ...], kind: str, charsets: tuple[str, str]) -> None:
        self._ole, self._path = ole, path
        self._streams = {kid.name.upper(): kid for kid in entry.kids if kid.entry_type == _STREAM}
        self._storages = [kid for kid in entry.kids if kid.entry_type == _STORAGE]
        self._fixed: dict[int, bytes] = {}
        table = self._read(_PROPERTIES)
        for at in range(_HEADER_BYTES[kind], len(table) - _ENTRY.size + 1, _ENTRY.size):
            _, tag, _, value = _ENTRY.unpack_from(table, at)
            self._fixed.setdefault(tag, value)
        self.is_message = bool(table)
        own, body = (_charset(self.number(_CODE_PAGE)), _charset(self.number(_BODY_CODE_PAGE)))
        self._charset = own or charsets[0]
        self.body_charset = body or own or charsets[1]

    def text(self, tag: int, *, is_body: bool = False) -> str:
        """A string; empty where there is none."""
        data = self._read(_name(tag, _UNICODE))
        if data:
            return clean_text(data.decode("utf-16-le", "replace")).rstrip("\0")
        data = self._read(_name(tag, _EIGHT_BIT))
        return decode_bytes(data, self.body_charset if is_body else self._charset).rstrip("\0")

    def binary(self, tag: int) -> bytes:
        """Bytes; empty where there are none."""
        return self._read(_name(tag, _BINARY))

    def number(self, tag: int) -> int | None:
        """A 32-bit integer."""
        value = self._fixed.get(tag)
        return None if value is None else int.from_bytes(value[:4], "little", signed=True)

    def time(self, tag: int) -> int | None:
        """A FILETIME."""
        value = self._fixed.get(tag)
        return None if value is None else int.from_bytes(value, "little")

    def recipients(self) -> list[Properties]:
        return [self._open(kid, "part") for kid in self._storages if kid.name.startswith("__recip_version1.0_#")]

    def attachments(self) -> Iterator[Properties]:
        return (self._open(kid, "part") for kid in self._storages if kid.name.startswith("__attach_version1.0_#"))

    def embedded_message(self) -> Properties | None:
        """The mail that an attachment is; None where it is something else."""
        wanted = _name(0x3701, _OBJECT)
        for kid in self._storages:
            if kid.name.upper() == wanted.upper():
                inner = self._open(kid, "message")
                return inner if inner.is_message else None
        return None

    def _open(self, entry: Any, kind: str) -> Properties:
        return Properties(self._ole, entry, (*self._path, entry.name), kind, (self._charset, self.body_charset))

    def _read(self, name: str) -> bytes:
        kid = self._streams.get(name.upper())
        if kid is None:
            return b""
        try:
            with self._ole.openstream([*self._path, kid.name]) as stream:
                data: bytes = stream.read()
        except (OSError, ValueError, IndexError, struct.error):  # olefile's own error is an OSError
            return b""
        return data


@contextmanager
def open_store(path: Path, limits: Limits) -> Iterator[Properties]:
    """The top-level message of the file, readable inside the block.

    Raises UnreadableDocument (`corrupt_mail`, `nested_too_deep`) and TooLarge (`too_many_entries`,
    `archive_too_large`).
    """
    import olefile

    with path.open("rb") as file:
        header = file.read(_SHIFTS_AT + 4)
    if header[_SHIFTS_AT:] not in _SHIFTS:  # olefile would read sectors of gigabytes
        raise corrupt_mail()
    try:
        ole = olefile.OleFileIO(str(path))
    except (OSError, ValueError, IndexError, TypeError, AttributeError, struct.error, RecursionError) as error:
        raise corrupt_mail() from error
    with ole:
        _check_tree(ole, limits)
        yield Properties(ole, ole.root, (), "root", ("", ""))


def _check_tree(ole: Any, limits: Limits) -> None:
    """Raises where the streams together are larger than any file of theirs, too many, or nested too deep."""
    entries = total = 0
    todo = [(ole.root, 0)]
    while todo:
        entry, depth = todo.pop()
        # An attachment lies one level below its mail, and a mail inside it one further.
        if depth > 2 * limits.max_archive_depth + 2:
            raise _too_nested()
        for kid in entry.kids:
            entries += 1
            total += kid.size if kid.entry_type == _STREAM else 0
            todo.append((kid, depth + 1))
        if entries > limits.max_archive_entries * _ENTRIES_PER_FILE:
            raise TooLarge(
                f"The mail has more than {limits.max_archive_entries:,} attachments and recipients, the limit.",
                code="too_many_entries",
                facts={"limit_entries": limits.max_archive_entries},
            )
        if total > limits.max_unpacked_bytes:
            raise TooLarge(
                f"The mail holds more than {limits.max_unpacked_bytes:,} bytes, which is the limit.",
                code="archive_too_large",
                facts={"limit_bytes": limits.max_unpacked_bytes},
            )


def corrupt_mail() -> UnreadableDocument:
    """The error for a file that cannot be read as a mail of Outlook."""
    return UnreadableDocument(
        "The file is no Outlook mail, or it is damaged. Save it again from Outlook.", code="corrupt_mail"
    )


def _too_nested() -> UnreadableDocument:
    return UnreadableDocument(
        "The mail nests other mails too deep to be read. Save the inner ones on their own.", code="nested_too_deep"
    )


def _name(tag: int, kind: int) -> str:
    return f"__substg1.0_{tag:04X}{kind:04X}"


def _charset(code_page: int | None) -> str:
    if code_page is None or code_page <= 0:
        return ""
    if 28591 <= code_page <= 28605:
        return f"iso-8859-{code_page - 28590}"
    return _CODE_PAGES.get(code_page, f"cp{code_page}")
