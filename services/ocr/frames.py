"""Messages between an OCR process and the one that started it.

JSON with bytes behind it, never pickle.
"""

from __future__ import annotations

import json
import struct
from typing import IO, Any

from services.content import Page
from services.errors import Problem, UnreadableDocument
from services.ocr.base import OcrResult
from services.page_json import pack_page, unpack_page

_HEADER = struct.Struct(">II")
"""Bytes of the JSON and bytes that follow it."""


def write_frame(stream: IO[bytes], message: dict[str, Any], data: bytes = b"") -> None:
    """Sends `message` and `data`. Raises OSError when nobody reads."""
    body = json.dumps(message, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace")
    stream.write(_HEADER.pack(len(body), len(data)))
    stream.write(body)
    stream.write(data)
    stream.flush()


def read_frame(stream: IO[bytes]) -> tuple[dict[str, Any], bytes]:
    """The next message with its data.

    Raises EOFError at the end, and when what comes is no message.
    """
    body_size, data_size = _HEADER.unpack(_exactly(stream, _HEADER.size))
    try:
        message = json.loads(_exactly(stream, body_size))
    except ValueError as error:
        raise EOFError("no message") from error
    if not isinstance(message, dict):
        raise EOFError("no message")
    return message, _exactly(stream, data_size)


def _exactly(stream: IO[bytes], count: int) -> bytes:
    data = stream.read(count)
    if len(data) < count:
        raise EOFError("the other end closed")
    return data


def pack_result(result: OcrResult) -> dict[str, Any]:
    """A message for what was read."""
    page = Page(
        1,
        result.text,
        words=result.words,
        blocks=result.blocks,
        confidence=result.confidence,
        rotation=result.rotation,
        languages=result.languages,
        engine=result.engine,
    )
    return {"page": pack_page(page)}


def pack_failure(problem: Problem) -> dict[str, Any]:
    """A message for a page that could not be read."""
    return {"code": problem.code, "detail": problem.detail}


def unpack_result(message: dict[str, Any]) -> OcrResult:
    """What `pack_result` packed.

    Raises the UnreadableDocument of `pack_failure`, and EOFError for anything else.
    """
    try:
        if "code" in message:
            raise UnreadableDocument(str(message["detail"])[:2000], code=str(message["code"])[:100])
        page = unpack_page(message["page"])
    except (KeyError, TypeError, ValueError) as error:
        raise EOFError("no result") from error
    return OcrResult(page.text, page.words, page.blocks, page.confidence, page.rotation, page.engine, page.languages)
