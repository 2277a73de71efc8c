"""A mail, whatever file it came in, as a page and attachments."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from urllib.parse import unquote

from services.content import BlockKind, DocumentInfo, Issue, Part
from services.errors import UnreadableDocument
from services.formats.base import ExtractContext
from services.formats.kit.attachment_writer import AttachmentWriter, in_units, is_too_deep, too_deep
from services.formats.kit.page_builder import PageBuilder, one_line
from services.formats.kit.paging import give_pages, wants_pictures
from services.formats.kit.picture_writer import PictureWriter
from services.formats.web.html import parse_html
from services.formats.web.tree import TreePicture, TreeReader

_WORD = re.compile(r"\w+")
_ADDRESS = re.compile(r"(?:https?://|mailto:|www\.)\S+", re.I)
_BLANK_LINES = re.compile(r"\n[ \t]*(?:\n[ \t]*)+")
_ENCRYPTED_BLOCK = re.compile(r"-----BEGIN PGP MESSAGE-----.*?(?:-----END PGP MESSAGE-----|\Z)", re.S)
_MISSING_SHARE = 0.1
_MISSING_WORDS = 5
"""Words of one version of a mail that the other may lack and still be taken for the same: what a program puts into one
only ("view this in a browser"). Source: newsletters and replies of common programs; versions that differ lack more."""


@dataclass(frozen=True, slots=True)
class LetterFile:
    """A file in a mail."""

    data: bytes
    filename: str
    media_type: str
    content_id: str = ""
    """Without its angle brackets; the HTML refers to a picture by it."""
    is_inline: bool = False
    """True for what the mail shows among its text."""


@dataclass(slots=True)
class Letter:
    """What a mail holds."""

    subject: str = ""
    sender: str = ""
    headers: list[tuple[str, str]] = field(default_factory=list)
    """Names and values to show, such as `("To", "Ann <ann@example.org>")`."""
    bodies: list[tuple[str, str]] = field(default_factory=list)
    """(plain text, HTML) of each piece of the text in order; what there is not of the two is empty."""
    files: list[LetterFile] = field(default_factory=list)
    issues: list[Issue] = field(default_factory=list)


def give_letter(letter: Letter, context: ExtractContext) -> Iterator[Part]:
    """The parts of a mail: one page with its headers and text, the pictures in the text, and the attachments."""
    page = PageBuilder(1)
    page.add(BlockKind.HEADING, one_line(letter.subject), level=1)
    page.add(BlockKind.PARAGRAPH, "\n".join(f"{name}: {one_line(value)}" for name, value in letter.headers))
    shown: list[TreePicture] = []
    for text, html in letter.bodies:
        shown += _add_body(page, text, html, letter.issues)
    pictures, attached = _sort_files(letter.files, shown)
    if attached:
        names = [f"{file.filename} ({in_units(len(file.data))})" for file in attached]
        page.add(BlockKind.PARAGRAPH, "Attachments: " + ", ".join(names))
    yield DocumentInfo(title=one_line(letter.subject)[:500], author=author_of(letter.sender)[:500])
    yield from letter.issues
    if wants_pictures(1, context):
        writer = PictureWriter(context)
        for picture in shown:
            if picture.source[:4].lower() == "cid:":
                found = pictures.get(_content_id(picture.source))
                if found is not None:
                    yield from writer.write(found.data, page=1, alt=picture.alt, caption=picture.caption)
            else:
                yield from writer.write_data_uri(picture.source, page=1, alt=picture.alt, caption=picture.caption)
        yield from writer.close()
    if attached and is_too_deep(context):
        yield from too_deep(context)
        attached = []
    yield from give_pages([page.build()], context)
    attachments = AttachmentWriter(context)
    for file in attached:
        yield attachments.write([file.data], file.filename, file.media_type)


def author_of(sender: str) -> str:
    """The name in `Name <address>`, or the address where there is no name."""
    name, _, address = sender.partition("<")
    return one_line(name).strip("\"' ") or address.partition(">")[0].strip()


def _sort_files(
    files: Sequence[LetterFile], shown: Sequence[TreePicture]
) -> tuple[Mapping[str, LetterFile], list[LetterFile]]:
    """The pictures that the text shows, by content id, and the files that are left to be attached."""
    wanted = {_content_id(picture.source) for picture in shown if picture.source[:4].lower() == "cid:"}
    pictures: dict[str, LetterFile] = {}
    attached: list[LetterFile] = []
    for file in files:
        if file.content_id in wanted and file.media_type.startswith("image/"):
            pictures.setdefault(file.content_id, file)
        else:
            attached.append(file)
    return pictures, attached


def _content_id(source: str) -> str:
    return unquote(source[4:]).strip("<> ")


def _add_body(page: PageBuilder, text: str, html: str, issues: list[Issue]) -> list[TreePicture]:
    """Adds the version of a body that holds all of it, or both where each has something of its own."""
    if _ENCRYPTED_BLOCK.search(text):
        issues.append(Issue("mail_encrypted", "A part of the mail is encrypted with PGP and was not read."))
        text = _ENCRYPTED_BLOCK.sub("", text)
    if not html.strip():
        _add_text(page, text)
        return []
    trial = PageBuilder(1)
    try:
        root = parse_html(html)
        reader = TreeReader(trial, has_chrome=False)
        if root is not None:
            reader.read(root)
    except UnreadableDocument as error:
        issues.append(Issue(error.code, f"The mail's HTML was not read: {error.detail}"))
        _add_text(page, text)
        return []
    html_text = trial.build().text
    if text.strip() and _lacks(html_text, text) and not _lacks(text, html_text):
        _add_text(page, text)
        return reader.pictures
    if root is not None:
        TreeReader(page, has_chrome=False).read(root)
    if text.strip() and _lacks(html_text, text):
        _add_text(page, text)
    return reader.pictures


def _lacks(version: str, other: str) -> bool:
    """True when `version` does not hold what `other` says."""
    here = Counter(_WORD.findall(version.casefold()))
    there = Counter(_WORD.findall(_ADDRESS.sub(" ", other).casefold()))
    missing = sum((there - here).values())
    return missing > max(_MISSING_WORDS, _MISSING_SHARE * sum(there.values()))


def _add_text(page: PageBuilder, text: str) -> None:
    """Adds plain text as paragraphs; lines that begin with `>` are quotes."""
    for paragraph in _BLANK_LINES.split(text.replace("\r\n", "\n")):
        run: list[str] = []
        quoted = False
        for line in paragraph.split("\n"):
            is_quote = line.startswith(">")
            if is_quote != quoted and run:
                page.add(BlockKind.QUOTE if quoted else BlockKind.PARAGRAPH, "\n".join(run))
                run = []
            quoted = is_quote
            run.append(line.lstrip("> ") if is_quote else line)
        page.add(BlockKind.QUOTE if quoted else BlockKind.PARAGRAPH, "\n".join(run))
