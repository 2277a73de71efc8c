"""Reads a mail as Outlook stores it: MSG (MS-OXMSG).

It gives the same page and attachments as an EML.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from email.message import EmailMessage
from email.parser import HeaderParser
from email.policy import SMTP, compat32

from services.content import Issue, Limits, Part, Upload
from services.errors import EncryptedDocument, UnreadableDocument
from services.filenames import display_name
from services.formats.base import ExtractContext
from services.formats.mail.headers import decode_bytes, decode_words
from services.formats.mail.letter import Letter, LetterFile, give_letter
from services.formats.mail.msg_rtf import decompress_rtf, text_of_rtf
from services.formats.mail.msg_store import Properties, corrupt_mail, open_store

_SUBJECT, _CLASS, _HEADERS = 0x0037, 0x001A, 0x007D
_BODY, _HTML, _RTF = 0x1000, 0x1013, 0x1009
_SENDER_NAME, _SENDER_ADDRESS, _SENDER_SMTP = 0x0C1A, 0x0C1F, 0x5D01
_SENT_NAME, _SENT_SMTP = 0x0042, 0x5D02
_SENT_AT, _RECEIVED_AT = 0x0039, 0x0E06
_SHOWN_TO, _SHOWN_CC = 0x0E04, 0x0E03
_NAME, _ADDRESS, _SMTP, _RECIPIENT_TYPE = 0x3001, 0x3003, 0x39FE, 0x0C15
_FILE, _LONG_NAME, _SHORT_NAME, _MEDIA_TYPE, _CONTENT_ID = 0x3701, 0x3707, 0x3704, 0x370E, 0x3712
"""Property ids. Source: MS-OXPROPS."""
_TO, _CC = 1, 2
_ENCRYPTED_CLASSES = ("ipm.note.smime", "ipm.note.secure")


def extract_msg(upload: Upload, context: ExtractContext) -> Iterator[Part]:
    """One page with the mail's headers and text, its pictures, and its attachments.

    A mail attached to it is an EML.

    Raises UnreadableDocument (`corrupt_mail`, `nested_too_deep`), TooLarge (`too_many_entries`, `archive_too_large`)
    and, for a mail that is encrypted as a whole, EncryptedDocument (`encryption_unsupported`).
    """
    with open_store(upload.path, context.limits) as root:
        kind = root.text(_CLASS).lower()
        if kind.startswith(_ENCRYPTED_CLASSES) and not kind.endswith("multipartsigned"):
            raise EncryptedDocument(
                "The mail is encrypted (S/MIME). Decrypt it in Outlook, save it, and upload that.",
                code="encryption_unsupported",
            )
        if not root.is_message:
            raise corrupt_mail()
        letter = _read(root, context.limits)
    yield from give_letter(letter, context)


def _read(message: Properties, limits: Limits) -> Letter:
    letter = Letter(subject=message.text(_SUBJECT))
    transport = HeaderParser(policy=compat32).parsestr(message.text(_HEADERS))
    sender = decode_words(str(transport.get("From", ""))) or _sender(message)
    letter.sender = sender
    recipients = message.recipients()
    date = message.time(_SENT_AT) or message.time(_RECEIVED_AT)
    shown = (
        ("From", sender),
        ("To", _people(recipients, _TO) or message.text(_SHOWN_TO)),
        ("Cc", _people(recipients, _CC) or message.text(_SHOWN_CC)),
        ("Date", _date(date) if date else decode_words(str(transport.get("Date", "")))),
    )
    letter.headers = [(name, value) for name, value in shown if value.strip()]
    letter.bodies = [_body(message, letter.issues, limits)]
    for number, attachment in enumerate(message.attachments(), 1):
        file = _file(attachment, number, limits)
        if file is not None:
            letter.files.append(file)
    return letter


def _sender(message: Properties) -> str:
    name = message.text(_SENDER_NAME) or message.text(_SENT_NAME)
    address = message.text(_SENDER_SMTP) or message.text(_SENT_SMTP) or message.text(_SENDER_ADDRESS)
    return _person(name, address)


def _people(recipients: list[Properties], kind: int) -> str:
    found = [r for r in recipients if (r.number(_RECIPIENT_TYPE) or _TO) == kind]
    return ", ".join(_person(r.text(_NAME), r.text(_SMTP) or r.text(_ADDRESS)) for r in found)


def _person(name: str, address: str) -> str:
    """`Name <address>`.

    An address of Exchange (`/o=...`) tells a reader nothing and is left out.
    """
    name = name.strip(" '\"")
    if not address or address.startswith("/") or address == name:
        return name or address
    return f"{name} <{address}>" if name else address


def _date(ticks: int) -> str:
    """A FILETIME (hundreds of nanoseconds since 1601, UTC) as a mail writes it.

    Source: MS-DTYP, section 2.3.3.
    """
    try:
        moment = datetime(1601, 1, 1, tzinfo=UTC) + timedelta(microseconds=ticks // 10)
    except OverflowError:
        return ""
    return moment.strftime("%a, %d %b %Y %H:%M:%S +0000")


def _body(message: Properties, issues: list[Issue], limits: Limits) -> tuple[str, str]:
    """Plain text and HTML; where there is neither, the text of the body in RTF."""
    text = message.text(_BODY, is_body=True)
    raw = message.binary(_HTML)
    html = decode_bytes(raw, message.body_charset) if raw else message.text(_HTML, is_body=True)
    if not text.strip() and not html.strip():
        packed = message.binary(_RTF)
        if packed:
            try:
                text = text_of_rtf(decompress_rtf(packed), limits)
            except UnreadableDocument as error:
                issues.append(Issue(error.code, f"The mail's text was not read: {error.detail}"))
    return text, html


def _file(attachment: Properties, number: int, limits: Limits) -> LetterFile | None:
    inner = attachment.embedded_message()
    named = attachment.text(_LONG_NAME) or attachment.text(_SHORT_NAME) or attachment.text(_NAME)
    if inner is not None:
        letter = _read(inner, limits)
        subject = display_name(letter.subject) if letter.subject.strip() else display_name(named or "message")
        return LetterFile(as_eml(letter), f"{subject}.eml", "message/rfc822")
    data = attachment.binary(_FILE)
    if not data:
        return None  # by reference, to a file that only its sender has
    return LetterFile(
        data,
        display_name(named) if named.strip() else f"attachment-{number}",
        attachment.text(_MEDIA_TYPE).lower(),
        attachment.text(_CONTENT_ID).strip("<> "),
    )


def as_eml(letter: Letter) -> bytes:
    """The mail as a file of its own: what Outlook holds inside another one has no form outside of it."""
    mail = EmailMessage(policy=SMTP.clone(utf8=True))
    values = [("Subject", letter.subject), *letter.headers]
    raw = "".join(f"{name}: {' '.join(value.split())}\r\n" for name, value in values)
    text, html = letter.bodies[0]
    if text or not html:
        mail.set_content(text)
    if html:
        if text:
            mail.add_alternative(html, subtype="html")
        else:
            mail.set_content(html, subtype="html")
    for file in letter.files:
        main, _, sub = file.media_type.partition("/")
        if file.media_type == "message/rfc822" or not sub or main in ("message", "multipart"):
            main, sub = "application", "octet-stream"
        content_id = f"<{file.content_id}>" if file.content_id else None
        mail.add_attachment(file.data, maintype=main, subtype=sub, cid=content_id, filename=file.filename)
    return raw.encode("utf-8", "replace") + mail.as_bytes()
