"""ZIP: every member becomes a document of its own.

The archive itself is the list of them.
"""

from __future__ import annotations

import errno
import stat
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from services.content import Attachment, BlockKind, DocumentInfo, Issue, Part, Upload
from services.errors import EncryptedDocument
from services.filenames import display_name, member_name
from services.formats.base import ExtractContext
from services.formats.kit.archive import InflationBudget, check_declared_sizes, list_members
from services.formats.kit.attachment_writer import AttachmentWriter, in_units, is_too_deep, too_deep
from services.formats.kit.decoding import decode_text
from services.formats.kit.page_builder import PageBuilder
from services.formats.kit.paging import give_pages

_STEP = 1 << 18
_IS_UTF8 = 0x800
_IS_ENCRYPTED = 0x1
"""Bits of a member's flags. Source: APPNOTE.TXT 6.3.10, section 4.4.4."""
_IS_STRONGLY_ENCRYPTED = 0x40
"""Bit of a member's flags. Source: the same."""
_AES = 99
"""Compression method of a member that WinZip, 7-Zip and others encrypted with AES. Source: WinZip, "AES Encryption
Information: Encryption Specification AE-1 and AE-2"."""
_JUNK = frozenset((".ds_store", "thumbs.db", "desktop.ini", "ehthumbs.db"))
"""What file managers leave behind, in lower case."""
_MAX_NAMED = 100
"""Members that could not be unpacked and are named one by one; the rest of them is counted."""


@dataclass(slots=True)
class _Tally:
    """Members that were not unpacked."""

    junk: int = 0
    empty: int = 0
    links: int = 0
    locked: list[str] = field(default_factory=list)
    sealed: list[str] = field(default_factory=list)
    """Encrypted in a way that no password opens here."""
    broken: int = 0


def extract_zip(upload: Upload, context: ExtractContext) -> Iterator[Part]:
    """The members, then one page with their names and sizes.

    Raises TooLarge (`too_many_entries`, `archive_too_large`, `compression_ratio`), UnreadableDocument
    (`corrupt_archive`) and, where no member can be opened without another password, EncryptedDocument
    (`password_required`, `password_wrong`; `encryption_unsupported` where no password would do).
    """
    members = list_members(upload.path, context.limits)
    check_declared_sizes(members, context.limits)
    yield DocumentInfo(title=display_name(upload.filename))
    tally = _Tally()
    names = _readable_names(members)
    files = [(member, name) for member, name in zip(members, names, strict=True) if _is_file(member, name, tally)]
    listed: list[tuple[str, str]] = []
    if is_too_deep(context):
        yield from too_deep(context)
        listed = [(name, in_units(member.file_size)) for member, name in files]
    else:
        for part in _unpack(upload, context, files, tally):
            if isinstance(part, Attachment):
                listed.append((part.filename, in_units(part.size_bytes)))
            yield part
        if tally.locked and not listed:
            raise _locked(context)
        if tally.sealed and not listed:
            raise _sealed()
    yield from _issues(tally, context)
    page = PageBuilder(1)
    page.add(BlockKind.HEADING, display_name(upload.filename), level=1)
    page.add_table([("Name", "Size"), *listed] if listed else [])
    yield from give_pages([page.build()], context)


def _unpack(
    upload: Upload, context: ExtractContext, files: Sequence[tuple[zipfile.ZipInfo, str]], tally: _Tally
) -> Iterator[Attachment | Issue]:
    budget, writer = InflationBudget(context.limits), AttachmentWriter(context)
    password = None if context.password is None else context.password.encode()
    with zipfile.ZipFile(upload.path) as archive:
        for member, name in files:
            if _is_sealed(member):
                tally.sealed.append(name)
                continue
            if member.flag_bits & _IS_ENCRYPTED and password is None:
                tally.locked.append(name)
                continue
            try:
                yield writer.write(_inflate(archive, member, password, budget), name, "")
            except NotImplementedError:
                tally.broken += 1
                if tally.broken <= _MAX_NAMED:
                    yield Issue("member_unreadable", f"{name!r} is packed in a way that is not read; left out.")
            except (zipfile.BadZipFile, zlib.error, EOFError, OSError, ValueError, RuntimeError) as error:
                # zipfile says "Bad password" with a RuntimeError; the wrong one may also turn up as damage.
                if member.flag_bits & _IS_ENCRYPTED:
                    tally.locked.append(name)
                    continue
                if isinstance(error, OSError) and error.errno not in (None, errno.EINVAL):
                    raise  # a full disk, say; a place before the file's beginning is damage
                tally.broken += 1
                if tally.broken <= _MAX_NAMED:
                    yield Issue("member_unreadable", f"{name!r} is damaged and was left out.")


def _inflate(
    archive: zipfile.ZipFile, member: zipfile.ZipInfo, password: bytes | None, budget: InflationBudget
) -> Iterator[bytes]:
    budget.begin(member.compress_size)
    with archive.open(member, pwd=password if member.flag_bits & _IS_ENCRYPTED else None) as stream:
        while piece := stream.read(_STEP):
            budget.spend(len(piece))
            yield piece


def _is_sealed(member: zipfile.ZipInfo) -> bool:
    """True for what zipfile cannot decrypt: all but the encryption of PKZIP 2."""
    return bool(
        member.flag_bits & _IS_ENCRYPTED and (member.compress_type == _AES or member.flag_bits & _IS_STRONGLY_ENCRYPTED)
    )


def _is_file(member: zipfile.ZipInfo, name: str, tally: _Tally) -> bool:
    """True for what shall be unpacked; the rest is counted."""
    last = name.rpartition("/")[2].lower()
    if member.is_dir():
        return False
    if stat.S_ISLNK(member.external_attr >> 16):
        tally.links += 1
    elif name.startswith("__MACOSX/") or last in _JUNK or last.startswith("._"):
        tally.junk += 1
    elif member.file_size == 0:
        tally.empty += 1
    else:
        return True
    return False


def _readable_names(members: Sequence[zipfile.ZipInfo]) -> list[str]:
    """The names to show.

    Those without the mark of UTF-8 are in some encoding of the packer's: told by all together.
    """
    raw = [None if m.flag_bits & _IS_UTF8 else _as_packed(m.filename) for m in members]
    odd = b"\n".join(name for name in raw if name is not None and not name.isascii())
    encoding = decode_text(odd)[1] if odd else "ascii"
    if encoding == "cp1252":
        encoding = "cp437"  # the format's own; packers that write Windows-1252 are none that matter
    names = []
    for member, name in zip(members, raw, strict=True):
        shown = member.filename if name is None else name.decode(encoding, "replace")
        names.append(member_name(shown))
    return names


def _as_packed(name: str) -> bytes:
    """The bytes of a name that zipfile has read as code page 437, which holds every byte."""
    try:
        return name.encode("cp437")
    except UnicodeEncodeError:  # from an extra field in Unicode
        return name.encode("utf-8")


def _issues(tally: _Tally, context: ExtractContext) -> Iterator[Issue]:
    counted = [
        (tally.empty, "empty"),
        (tally.links, "links"),
        (tally.junk, "what a file manager left behind"),
    ]
    told = ", ".join(f"{count:,} ({what})" for count, what in counted if count)
    if told:
        yield Issue("members_left_out", f"Members of the archive were left out: {told}.")
    if tally.broken > _MAX_NAMED:
        yield Issue("member_unreadable", f"{tally.broken - _MAX_NAMED:,} more members are damaged and were left out.")
    for names, error in ((tally.locked, _locked(context)), (tally.sealed, _sealed())):
        if names:
            shown = ", ".join(repr(name) for name in names[:10]) + (", …" if len(names) > 10 else "")
            yield Issue(error.code, f"{len(names):,} members are encrypted and were left out: {shown}. {error.detail}")


def _sealed() -> EncryptedDocument:
    return EncryptedDocument(
        "The archive is encrypted with AES or another method that is not opened here, whatever the password. Unpack it "
        "and upload the files, or pack them anew without encryption or with that of PKZIP (ZipCrypto).",
        code="encryption_unsupported",
    )


def _locked(context: ExtractContext) -> EncryptedDocument:
    if context.password is None:
        return EncryptedDocument("The archive is encrypted. Send its password in `options.password`.")
    return EncryptedDocument(
        "The password does not open the archive. Send the right one in `options.password`.", code="password_wrong"
    )
