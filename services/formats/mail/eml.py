"""Reads a mail as it was sent: EML (RFC 5322, MIME).

Its text is the page, its attachments become documents of their own.
"""

from __future__ import annotations

import mimetypes
from collections.abc import Callable, Iterator
from email.generator import BytesGenerator
from email.message import Message
from email.parser import BytesParser
from email.policy import compat32, default
from io import BytesIO
from typing import Any, TypeAlias

from services.content import Issue, Limits, Part, Upload
from services.errors import EncryptedDocument, TooLarge, UnreadableDocument
from services.filenames import display_name
from services.formats.base import ExtractContext
from services.formats.mail.headers import MAX_HEADER_CHARS, decode_bytes, decode_words, header
from services.formats.mail.letter import Letter, LetterFile, give_letter

_SHOWN = ("From", "To", "Cc", "Date")
_SIGNATURES = frozenset(("application/pgp-signature", "application/pkcs7-signature", "application/x-pkcs7-signature"))
_ENVELOPES = frozenset(("application/pkcs7-mime", "application/x-pkcs7-mime"))
_REPORTS = frozenset(("message/delivery-status", "message/disposition-notification", "text/rfc822-headers"))
_AS_WRITTEN = default.clone(refold_source="none")
"""Writes an inner mail out with its headers as they came."""

Mail: TypeAlias = "Message[Any, Any]"


def extract_eml(upload: Upload, context: ExtractContext) -> Iterator[Part]:
    """One page with the mail's headers and text, its pictures, and its attachments.

    Raises UnreadableDocument (`not_a_mail`, `nested_too_deep`), TooLarge (`too_many_entries`) and, for a mail that is
    encrypted as a whole, EncryptedDocument (`encryption_unsupported`).
    """
    message = _parse(upload, context.limits)
    if not message.keys():
        raise UnreadableDocument("The file has no mail headers. Export the mail again, as .eml.", code="not_a_mail")
    yield from give_letter(_Reader().read(message), context)


def _parse(upload: Upload, limits: Limits) -> Mail:
    with upload.path.open("rb") as file:
        try:
            return BytesParser(_part_class(limits), policy=compat32).parse(file)
        except RecursionError as error:
            raise _too_nested() from error


def _too_nested() -> UnreadableDocument:
    return UnreadableDocument(
        "The mail nests its parts too deep to be read. Export it again from the program that sent it.",
        code="nested_too_deep",
    )


def _part_class(limits: Limits) -> Callable[..., Mail]:
    """A class of messages that refuses to grow beyond the limits while it is parsed: the parser attaches each part to
    the one around it as soon as it begins."""
    parts = 0

    class BoundedMessage(Message):
        depth = 0

        def attach(self, payload: Any) -> None:
            nonlocal parts
            parts += 1
            if parts > limits.max_archive_entries:
                raise TooLarge(
                    f"The mail has more than {limits.max_archive_entries:,} parts, which is the limit.",
                    code="too_many_entries",
                    facts={"limit_entries": limits.max_archive_entries},
                )
            payload.depth = self.depth + 1
            if payload.depth > limits.max_nesting:
                raise _too_nested()
            super().attach(payload)

        def get(self, name: str, failobj: Any = None) -> Any:
            """The header as text, cut where it is too long for what the library does with it."""
            value = super().get(name, failobj)
            return value if value is failobj else str(value)[:MAX_HEADER_CHARS]

    return BoundedMessage


class _Reader:
    """Walks the parts of one mail, without those of the mails inside it."""

    def __init__(self) -> None:
        self._letter = Letter()
        self._unnamed = 0

    def read(self, message: Mail) -> Letter:
        letter = self._letter
        letter.subject = header(message, "Subject")
        letter.sender = header(message, "From")
        letter.headers = [(name, value) for name in _SHOWN if (value := header(message, name))]
        if _is_envelope(message):
            raise EncryptedDocument(
                "The mail is encrypted (S/MIME or PGP). Decrypt it in your mail program, save it, and upload that.",
                code="encryption_unsupported",
            )
        todo = [message]
        while todo:
            part = todo.pop()
            kind = part.get_content_type()
            if kind == "multipart/alternative" and part.is_multipart():
                todo += reversed(self._take_alternative(part))
            elif kind == "multipart/encrypted" or (kind in _ENVELOPES and _is_envelope(part)):
                letter.issues.append(Issue("mail_encrypted", "A part of the mail is encrypted and was not read."))
            elif kind == "message/rfc822":
                self._add_mail(part)
            elif part.is_multipart() and kind not in _REPORTS:
                todo += reversed(_children(part))
            else:
                self._take_leaf(part, kind)
        return letter

    def _take_alternative(self, part: Mail) -> list[Mail]:
        """Takes the versions of a text; returns the parts beneath that are none."""
        texts, pages, others = list[str](), list[str](), list[Mail]()
        todo = [part]
        while todo:
            inner = todo.pop()
            kind = inner.get_content_type()
            if inner.is_multipart() and kind.startswith("multipart/") and kind != "multipart/encrypted":
                todo += reversed(_children(inner))
            elif kind == "text/plain" and not _is_attached(inner):
                texts.append(_text(inner))
            elif kind == "text/html" and not _is_attached(inner):
                pages.append(_text(inner))
            else:
                others.append(inner)
        if texts or pages:
            self._letter.bodies.append(("\n\n".join(texts), "\n".join(pages)))
        return others

    def _take_leaf(self, part: Mail, kind: str) -> None:
        if kind in _SIGNATURES:
            return
        if kind in _REPORTS:
            self._letter.bodies.append((decode_bytes(_body_of(part), ""), ""))
        elif kind in ("text/plain", "text/html") and not _is_attached(part):
            text = _text(part)
            self._letter.bodies.append(("", text) if kind == "text/html" else (text, ""))
        elif data := _bytes(part):
            self._letter.files.append(
                LetterFile(
                    data,
                    self._name(part, kind),
                    kind,
                    header(part, "Content-ID").strip("<> "),
                    is_inline=part.get_content_disposition() == "inline",
                )
            )

    def _add_mail(self, part: Mail) -> None:
        inner = _children(part)
        if inner:
            data = _body_of(part)
            if (part.get("Content-Transfer-Encoding") or "").strip().lower() in ("base64", "quoted-printable"):
                coded = Message()
                coded["Content-Transfer-Encoding"] = part["Content-Transfer-Encoding"]
                coded.set_payload(data.strip().decode("ascii", "surrogateescape"))
                data = _bytes(coded)
            subject = display_name(header(inner[0], "Subject")) if header(inner[0], "Subject") else "message"
        else:
            data, subject = _bytes(part), "message"
        if data:
            named = _file_name(part) or f"{subject}.eml"
            self._letter.files.append(LetterFile(data, named, "message/rfc822"))

    def _name(self, part: Mail, kind: str) -> str:
        named = _file_name(part)
        if named:
            return named
        self._unnamed += 1
        return f"attachment-{self._unnamed}{mimetypes.guess_extension(kind, strict=False) or ''}"


def _children(part: Mail) -> list[Mail]:
    payload = part.get_payload()
    return [child for child in payload if isinstance(child, Message)] if isinstance(payload, list) else []


def _is_attached(part: Mail) -> bool:
    """True for a text that its sender attached as a file."""
    return part.get_content_disposition() == "attachment" or bool(_file_name(part))


def _is_envelope(part: Mail) -> bool:
    kind = part.get_content_type()
    if kind in _ENVELOPES:
        return str(part.get_param("smime-type") or "enveloped-data").lower() != "signed-data"
    return kind == "multipart/encrypted"


def _file_name(part: Mail) -> str:
    try:
        named = part.get_filename()
    except (LookupError, ValueError, TypeError):  # a charset or an encoding that nobody knows
        return ""
    return display_name(decode_words(str(named))) if named else ""


def _bytes(part: Mail) -> bytes:
    try:
        data = part.get_payload(decode=True)
    except (ValueError, AssertionError):  # an encoding that is broken beyond what the library mends
        data = None
    if isinstance(data, bytes):
        return data
    payload = part.get_payload()
    return payload.encode("utf-8", "surrogateescape") if isinstance(payload, str) else b""


def _text(part: Mail) -> str:
    charset = part.get_param("charset")
    text = decode_bytes(_bytes(part), charset if isinstance(charset, str) else "")
    if str(part.get_param("format") or "").lower() == "flowed":
        return _unflowed(text, str(part.get_param("delsp") or "").lower() == "yes")
    return text


def _unflowed(text: str, deletes_space: bool) -> str:
    """`text` with its soft line ends taken out. Source: RFC 3676, sections 4.1 to 4.4."""
    lines: list[str] = []
    goes_on = False
    for line in text.split("\n"):
        body = line[1:] if line.startswith(" ") else line
        if goes_on and lines and not body.startswith(">") and body != "-- ":
            lines[-1] += body
        else:
            lines.append(body)
        goes_on = body.endswith(" ") and body != "-- " and not body.startswith(">")
        if goes_on and deletes_space:
            lines[-1] = lines[-1][:-1]
    return "\n".join(lines)


def _body_of(part: Mail) -> bytes:
    """What is inside a part that holds messages, as it was written."""
    target = BytesIO()
    for number, inner in enumerate(_children(part)):
        if number:
            target.write(b"\n")
        generator: Any = BytesGenerator(target, mangle_from_=False, policy=_AS_WRITTEN)
        generator.flatten(inner)
    return target.getvalue() or _bytes(part)
