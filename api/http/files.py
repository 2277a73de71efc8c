"""Sends stored files, with a safe name, ranges and a tag.

A browser never runs them.
"""

from __future__ import annotations

import os
import re
from typing import Literal
from urllib.parse import quote

from starlette.datastructures import Headers
from starlette.responses import FileResponse, RedirectResponse, Response
from starlette.types import Receive, Scope, Send

from api.http.errors import http_problem, method_of
from api.http.security import frame_ancestors
from services.documents.files import FileName, StoredFile, signed_address, stored_file
from services.filenames import download_name
from services.runtime import Runtime

SHOWN_TYPES = frozenset({"application/pdf", "image/png", "image/jpeg", "image/webp", "text/plain"})
"""Types that a browser may show: they run nothing in our origin. Everything else is downloaded."""
HARMLESS_TYPES = SHOWN_TYPES | {
    "image/tiff",
    "text/csv",
    "text/markdown",
    "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
}
"""Types that are named as they are. What is in neither set, HTML above all, is sent as bytes without a meaning."""

_SINGLE_RANGE = re.compile(r"bytes\s*=\s*(\d{0,18})\s*-\s*(\d{0,18})", re.ASCII | re.IGNORECASE)

SANDBOX = "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'; sandbox"
PDF_POLICY = "default-src 'none'; style-src 'unsafe-inline'; object-src 'self'"
"""Without `sandbox`, in which Chromium's viewer does not start (crbug.com/271452)."""


def content_disposition(filename: str, *, shown: bool) -> str:
    """The Content-Disposition header with the file's name for every client.

    Source: RFC 6266, section 4.3 and appendix D; RFC 8187.
    """
    name = download_name(filename)
    kind = "inline" if shown else "attachment"
    plain = "".join(char if " " <= char <= "~" and char not in '"\\%' else "_" for char in name)
    header = f'{kind}; filename="{plain}"'
    return header if plain == name else f"{header}; filename*=UTF-8''{quote(name, safe='')}"


def matches_tag(header: str | None, tag: str) -> bool:
    """True when an If-None-Match header names `tag`.

    Source: RFC 9110, section 13.1.2 (weak comparison).
    """
    if header is None:
        return False
    tags = [item.strip().removeprefix("W/") for item in header.split(",")]
    return "*" in tags or f'"{tag}"' in tags


class StoredFileResponse(FileResponse):
    """A stored file with `Range`, `If-Range` and `If-None-Match`.

    A range outside the file is answered with a problem. `pdf_frames` is the directive that says which pages may show a
    PDF.
    """

    def __init__(self, file: StoredFile, *, if_none_match: str | None, pdf_frames: str) -> None:
        shown = file.media_type in SHOWN_TYPES
        kind = file.media_type if file.media_type in HARMLESS_TYPES else "application/octet-stream"
        headers = {
            # Named here, because the framework would add a charset to `text/`, and what an original has is not known.
            "Content-Type": kind,
            "ETag": f'"{file.sha256}"',
            "Cache-Control": "private, no-cache",
            "Content-Disposition": content_disposition(file.filename, shown=shown),
            "Content-Security-Policy": f"{PDF_POLICY}; {pdf_frames}" if kind == "application/pdf" else SANDBOX,
        }
        status = os.stat(file.path)
        super().__init__(file.path, media_type=kind, headers=headers, stat_result=status)
        self._tag, self._if_none_match, self._size = file.sha256, if_none_match, status.st_size

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        scope = {**scope, "method": method_of(scope)}  # a HEAD must not read the file
        if matches_tag(self._if_none_match, self._tag):
            kept = {name: self.headers[name] for name in ("etag", "cache-control")}
            await Response(status_code=304, headers=kept)(scope, receive, send)
            return
        headers = Headers(scope=scope)
        wanted = headers.get("range")
        if wanted is not None:
            kind = range_kind(wanted, self._size)
            if kind == "outside" and headers.get("if-range", f'"{self._tag}"') == f'"{self._tag}"':
                extra = {"Content-Range": f"bytes */{self._size}", "Accept-Ranges": "bytes"}
                detail = f"The range lies outside the file's {self._size:,} bytes."
                await http_problem(scope, 416, detail, extra)(scope, receive, send)
                return
            if kind != "single":
                scope = {**scope, "headers": [item for item in scope["headers"] if item[0] != b"range"]}
        await super().__call__(scope, receive, send)


def file_response(runtime: Runtime, file: FileName, *, redirect: bool, if_none_match: str | None) -> Response:
    """The file itself, or 307 to its signed address.

    307 where the client wants to be sent there and the file has such an address.
    """
    address = signed_address(runtime, file) if redirect else None
    if address is None:
        frames = frame_ancestors(runtime.settings)
        return StoredFileResponse(stored_file(runtime, file), if_none_match=if_none_match, pdf_frames=frames)
    # The address is a key to the file: no cache may keep it, and no other page be told of it.
    headers = {"Cache-Control": "no-store", "Referrer-Policy": "no-referrer"}
    return RedirectResponse(address, status_code=307, headers=headers)


def range_kind(header: str, size: int) -> Literal["single", "outside", "ignored"]:
    """What to do with a Range header: `single` is served, `outside` is 416.

    Anything else is as if it were not there. Several ranges at once are ignored, as RFC 9110, section 14.2 allows: the
    whole file is sent.
    """
    found = _SINGLE_RANGE.fullmatch(header.strip())
    if found is None or (not found[1] and not found[2]):
        return "ignored"
    if not found[1]:
        return "single" if int(found[2]) and size else "outside"
    first = int(found[1])
    if found[2] and int(found[2]) < first:
        return "ignored"
    return "single" if first < size else "outside"
