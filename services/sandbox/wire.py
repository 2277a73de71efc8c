"""The messages between the server and a parsing child: length-prefixed JSON, never pickle.

A frame is four bytes of length (big endian) and that many bytes of UTF-8 JSON with a `type`. What the child sends is
checked here as if a stranger had sent it, since the file that it reads may have taken it over.
"""

from __future__ import annotations

import json
import re
import struct
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from services.content import Attachment, Chunk, DocumentInfo, Issue, Limits, Page, Picture, Progress, Span, Upload
from services.errors import Problem
from services.formats.registry import Format
from services.options import Options
from services.page_json import box_of, pack_page, unpack_page

if TYPE_CHECKING:
    from services.sandbox.received_files import ReceivedFiles

Json = dict[str, Any]

HEADER = struct.Struct(">I")
MAX_FRAME_BYTES = 512 * 1024**2
"""A page of 50 million characters with its layout still fits; more is taken for a fault."""

MALFORMED = (AttributeError, KeyError, OverflowError, TypeError, ValueError)
"""What unpacking raises where a message is not what the child may send."""

_LARGEST_COUNT = 2**31 - 1
"""What every database stores as an integer."""

_SURROGATE = re.compile(rb"\\u[dD][89a-fA-F]")

_PICTURE_SIGNATURES = {
    "image/png": re.compile(rb"\x89PNG\r\n\x1a\n"),
    "image/jpeg": re.compile(rb"\xff\xd8\xff"),
    "image/webp": re.compile(rb"RIFF.{4}WEBP", re.S),
}
_SIGNATURE_BYTES = 16


def frame(message: Json) -> bytes:
    """`message` with its length before it."""
    body = json.dumps(message, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace")
    return HEADER.pack(len(body)) + body


def decode(body: bytes) -> Json:
    """The message in a frame's `body`. Raises what MALFORMED names, or RecursionError.

    Half a surrogate pair could be neither stored nor sent; `frame` writes none, JSON could.
    """
    message = json.loads(body)
    if not isinstance(message, dict):
        raise TypeError("a message must be an object")
    if _SURROGATE.search(body):
        json.dumps(message, ensure_ascii=False).encode("utf-8")
    return message


def pack_upload(upload: Upload) -> Json:
    return {**asdict(upload), "path": str(upload.path)}


def unpack_upload(packed: Mapping[str, Any]) -> Upload:
    return Upload(**{**packed, "path": Path(packed["path"])})


def pack_options(options: Options) -> Json:
    return options.as_json()


def unpack_options(packed: Mapping[str, Any]) -> Options:
    return Options(**{**packed, "ocr_languages": tuple(packed["ocr_languages"])})


def pack_limits(limits: Limits) -> Json:
    return asdict(limits)


def unpack_limits(packed: Mapping[str, Any]) -> Limits:
    return Limits(**packed)


def unpack_format(packed: str) -> Format:
    return Format(packed)


Piece = DocumentInfo | Page | Picture | Attachment | Issue | Progress | Chunk
"""What the child sends of a document."""


def pack_part(part: Piece) -> Json:
    """A message for what an extractor or the chunker yields."""
    match part:
        case Page():
            return {"type": "page", **pack_page(part)}
        case Chunk():
            return {
                "type": "chunk",
                "ordinal": part.ordinal,
                "text": part.text,
                "prefix": part.prefix,
                "spans": [pack_span(span) for span in part.spans],
            }
        case Picture():
            return {"type": "picture", **asdict(part), "path": part.path.name}
        case Attachment():
            return {"type": "attachment", **asdict(part), "path": part.path.name}
        case DocumentInfo():
            return {"type": "info", **asdict(part)}
        case Issue():
            return {"type": "issue", **asdict(part)}
        case Progress():
            return {"type": "progress", **asdict(part)}


def pack_span(span: Span) -> Json:
    """A span as the store and the API show it."""
    return {
        "page": span.page,
        "char_start": span.char_start,
        "char_end": span.char_end,
        "boxes": [[round(n, 2) for n in box] for box in span.boxes],
    }


def unpack_part(message: Mapping[str, Any], files: ReceivedFiles) -> Piece:
    """The part that `message` holds; the file of a picture or an attachment is taken out of `files`.

    Raises what MALFORMED names where the message is not what the child may send.
    """
    match message["type"]:
        case "page":
            return unpack_page(message)
        case "chunk":
            return _unpack_chunk(message)
        case "picture":
            return _unpack_picture(message, files)
        case "attachment":
            path = files.take(message["path"], message["sha256"])
            return Attachment(
                path=path,
                filename=_line(message["filename"], 1000),
                declared_type=_line(message["declared_type"], 255),
                sha256=str(message["sha256"]),
                size_bytes=path.stat().st_size,
            )
        case "info":
            return DocumentInfo(
                title=_line(message["title"], 1000),
                author=_line(message["author"], 1000),
                language=_line(message["language"], 64),
                page_count=_count(message["page_count"]),
            )
        case "issue":
            page = message["page"]
            return Issue(
                code=_line(message["code"], 100),
                message=_line(message["message"], 2000),
                page=None if page is None else _count(page),
            )
        case "progress":
            return Progress(
                stage=_line(message["stage"], 32),
                pages_done=_count(message["pages_done"]),
                pages_total=_count(message["pages_total"]),
            )
        case other:
            raise ValueError(f"unknown message {str(other)[:40]!r}")


def _unpack_chunk(message: Mapping[str, Any]) -> Chunk:
    text, prefix = message["text"], message["prefix"]
    if not isinstance(text, str) or not isinstance(prefix, str) or not text.strip():
        raise ValueError("a chunk has no text")
    spans = tuple(
        Span(
            page=_count(span["page"]),
            char_start=_count(span["char_start"]),
            char_end=_count(span["char_end"]),
            boxes=tuple(box_of(box) for box in span["boxes"]),
        )
        for span in message["spans"]
    )
    if sum(span.char_end - span.char_start for span in spans) != len(text):
        raise ValueError("a chunk's spans are not as long as its text")
    return Chunk(ordinal=_count(message["ordinal"]), text=text, prefix=prefix, spans=spans)


def picture_type(stated: Any, content: bytes) -> str:
    """The media type `stated` where `content`, a picture file's first bytes, agrees. Raises ValueError.

    A file that is no picture must not be stored and served as one, whatever the child calls it.
    """
    signature = _PICTURE_SIGNATURES.get(stated) if isinstance(stated, str) else None
    if signature is None or not signature.match(content):
        raise ValueError("a picture's type is not valid")
    return str(stated)


def _unpack_picture(message: Mapping[str, Any], files: ReceivedFiles) -> Picture:
    box, path = message["box"], files.take(message["path"], message["sha256"])
    with path.open("rb") as stream:
        media_type = picture_type(message["media_type"], stream.read(_SIGNATURE_BYTES))
    return Picture(
        page=_count(message["page"]),
        path=path,
        sha256=message["sha256"],
        media_type=media_type,
        width=_count(message["width"]),
        height=_count(message["height"]),
        box=None if box is None else box_of(box),
        alt=_line(message["alt"], 2000),
        caption=_line(message["caption"], 2000),
    )


def pack_problem(problem: Problem) -> Json:
    return {"type": "problem", **problem.as_json()}


def unpack_problem(message: Mapping[str, Any]) -> Problem:
    return Problem(
        kind=_line(message["kind"], 64),
        code=_line(message["code"], 100),
        detail=_line(message["detail"], 2000),
        retryable=False,
    )


def _line(value: Any, limit: int) -> str:
    if not isinstance(value, str):
        raise TypeError("a string was expected")
    return value.encode("utf-8", "replace").decode("utf-8")[:limit]


def _count(value: Any) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= _LARGEST_COUNT:
        raise ValueError("a number from 0 was expected")
    return value
