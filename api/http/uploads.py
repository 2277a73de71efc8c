"""Reads a multipart upload as it arrives, onto the disk and through SHA-256.

No file is read further than its limit. The parser runs on the event loop, where it only finds boundaries. What it
finds is gathered up to a mebibyte and then written and hashed in one step in a worker thread: a slow disk never stops
the loop, and fifty small files cost one step.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import anyio
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header
from starlette.exceptions import HTTPException
from starlette.requests import Request

from api.http.body_memory import HeldBody, no_room
from api.http.client_address import address_key, client_address
from api.http.middleware import MAX_DRAINED_BYTES
from database.ids import new_id
from services.content import Received, Upload
from services.documents.documents import too_large
from services.errors import DocatlasError, FieldError, InvalidOption, TooLarge
from services.filenames import display_name
from services.options import pointer_step
from services.storage import translate_os_error

STEP_BYTES = 1024**2
"""Gathered before a step in a thread: sixteen of uvicorn's reads of 64 kB share the price of one hop."""
MAX_FIELD_BYTES = 1024**2
"""Of `options` or `metadata`."""
MAX_HEADER_BYTES = 64 * 1024
"""Of one header of a part: a file name of 4,000 letters takes up to 16 kB and is cut for display, not refused."""
MAX_FIELDS = 32
"""Fields of one form that are no files; no call knows more than a few."""
SCRATCH_PREFIX = "upload-"

# WHATWG HTML, "Multipart form data": browsers write these three in file names as here.
_BROWSER_ESCAPES = (("%0A", "\n"), ("%0D", "\r"), ("%22", '"'))


_HALF_PAIR = re.compile("[\ud800-\udfff]")


@dataclass(slots=True)
class UploadForm:
    """The fields and files of an upload request.

    The files lie on disk until the `with` of `read_upload` ends.
    """

    files: list[Received] = field(default_factory=list)
    fields: dict[str, str] = field(default_factory=dict)


@dataclass(slots=True)
class _File:
    """A file on its way in."""

    filename: str
    declared_type: str
    path: Path
    size: int = 0
    error: DocatlasError | None = None
    digest: Any = field(default_factory=hashlib.sha256)
    handle: IO[bytes] | None = None


class _Receiver:
    """The parser's callbacks, and the steps that they leave to be done in a thread."""

    def __init__(self, folder: Path, file_names: frozenset[str], max_bytes: int, max_files: int) -> None:
        self.files: list[_File] = []
        self.fields: dict[str, bytearray] = {}
        self.refused: DocatlasError | None = None
        """What is wrong with the request as a whole; the rest of it is read and forgotten."""
        self.pending_bytes = 0
        self.is_complete = False
        self.discarded_bytes = 0
        self.too_large = too_large(max_bytes)
        self._folder, self._file_names = folder, file_names
        self._max_bytes, self._max_files = max_bytes, max_files
        self._steps: list[tuple[_File, bytes | None]] = []
        self._headers: dict[str, str] = {}
        self._header: tuple[bytearray, bytearray] = (bytearray(), bytearray())
        self._file: _File | None = None
        self._field: bytearray | None = None
        self._field_bytes = 0

    @property
    def held_bytes(self) -> int:
        """What is in memory: fields, and what was gathered of files."""
        return self._field_bytes + self.pending_bytes

    def callbacks(self) -> dict[str, Callable[..., None]]:
        return {
            "on_part_begin": self._on_part_begin,
            "on_header_field": lambda data, start, end: self._header[0].extend(data[start:end]),
            "on_header_value": lambda data, start, end: self._header[1].extend(data[start:end]),
            "on_header_end": self._on_header_end,
            "on_headers_finished": self._on_headers_finished,
            "on_part_data": self._on_part_data,
            "on_part_end": self._on_part_end,
            "on_end": self._on_end,
        }

    def _on_part_begin(self) -> None:
        self._headers, self._file, self._field = {}, None, None
        self._header = (bytearray(), bytearray())

    def _on_header_end(self) -> None:
        name, value = self._header
        self._headers[name.decode("latin-1").strip().lower()] = value.decode("latin-1")
        self._header = (bytearray(), bytearray())

    def _on_headers_finished(self) -> None:
        _, parameters = parse_options_header(self._headers.get("content-disposition"))
        name = parameters.get(b"name", b"").decode("utf-8", "replace")
        raw_filename = parameters.get(b"filename")
        if self.refused is not None:
            return
        if name in self._file_names:
            if len(self.files) >= self._max_files:
                self.refused = self._too_many_files(name)
                return
            shown = (raw_filename or b"").decode("utf-8", "replace")
            for escape, char in _BROWSER_ESCAPES:
                shown = shown.replace(escape, char)
            path = self._folder / f"{SCRATCH_PREFIX}{new_id()}"
            self._file = _File(display_name(shown), self._headers.get("content-type", "")[:200], path)
            self.files.append(self._file)
            self._steps.append((self._file, b""))
        elif raw_filename is None and name and name not in self.fields and len(self.fields) < MAX_FIELDS:
            self._field = self.fields[name] = bytearray()
        else:
            wanted = " or ".join(f"`{known}`" for known in sorted(self._file_names))
            self.refused = InvalidOption(
                f"A part of the form cannot be used: files are named {wanted}, and each other field comes once.",
                code="invalid_request",
                errors=(FieldError(f"/{pointer_step(name[:80])}", "is not expected here"),),
            )

    def _too_many_files(self, name: str) -> DocatlasError:
        if self._max_files == 1:
            return InvalidOption(
                "The request holds several files, and one is taken here.",
                code="invalid_request",
                errors=(FieldError(f"/{pointer_step(name)}", "comes more than once"),),
            )
        return TooLarge(
            f"The request holds more than {self._max_files:,} files. Send the rest in another one.",
            code="too_many_files",
            facts={"limit": self._max_files},
        )

    def _on_part_data(self, data: bytes, start: int, end: int) -> None:
        length = end - start
        if self._field is not None:
            if len(self._field) + length > MAX_FIELD_BYTES:
                self.refused = TooLarge(
                    f"A field of the form is larger than {MAX_FIELD_BYTES:,} bytes.",
                    code="field_too_large",
                    facts={"limit": MAX_FIELD_BYTES},
                )
                self._field = None
                return
            self._field.extend(data[start:end])
            self._field_bytes += length
        elif self._file is not None and self._file.error is None and self.refused is None:
            self._file.size += length
            if self._file.size > self._max_bytes:
                self._file.error = self.too_large
                return
            self._steps.append((self._file, data[start:end]))
            self.pending_bytes += length
        elif self.refused is not None:
            self.discarded_bytes += length
        # What is beyond a file's limit is forgotten to its end: other files may stand behind it.

    def _on_part_end(self) -> None:
        if self._file is not None:
            self._steps.append((self._file, None))
        self._file = self._field = None

    def _on_end(self) -> None:
        self.is_complete = True

    def take_steps(self) -> list[tuple[_File, bytes | None]]:
        steps, self._steps, self.pending_bytes = self._steps, [], 0
        return steps

    def discard(self) -> None:
        """Closes and removes every file that is still there."""
        for file in self.files:
            if file.handle is not None:
                file.handle.close()
            file.path.unlink(missing_ok=True)


def _write(steps: list[tuple[_File, bytes | None]]) -> None:
    """Writes and hashes what was gathered; None ends a file.

    Raises TransientError when the disk is full.
    """
    with translate_os_error():
        for file, data in steps:
            if file.error is not None or data is None:
                if file.handle is not None:
                    file.handle.close()
                    file.handle = None
                if file.error is not None:
                    file.path.unlink(missing_ok=True)
                continue
            if file.handle is None:
                # Unbuffered: a chunk goes to the page cache in one call, whatever its size.
                file.handle = file.path.open("xb", buffering=0)
                file.path.chmod(0o600)
            file.handle.write(data)
            file.digest.update(data)


@asynccontextmanager
async def read_upload(
    request: Request, *, scratch: Path, file_names: frozenset[str], max_bytes: int, max_files: int
) -> AsyncIterator[UploadForm]:
    """The form that `request` holds, for the length of a block.

    Files that nobody took over are removed at the end, also when the client leaves.
    Raises HTTPException (400, 408, 415), TooLarge, InvalidOption, TransientError and ClientDisconnect.
    """
    receiver = _Receiver(scratch, file_names, max_bytes, max_files)
    parser = _parser(request, receiver)
    with request.app.state.body_memory.hold(address_key(client_address(request.scope))) as held:
        try:
            await _receive_all(request, parser, receiver, held)
            if receiver.refused is not None:
                raise receiver.refused
            files = [
                Received(
                    file.filename,
                    None
                    if file.error
                    else Upload(file.path, file.filename, file.declared_type, file.digest.hexdigest(), file.size),
                    file.error,
                )
                for file in receiver.files
            ]
            yield UploadForm(files, {name: _text(name, value) for name, value in receiver.fields.items()})
        finally:
            with anyio.CancelScope(shield=True):
                await anyio.to_thread.run_sync(receiver.discard)


def _parser(request: Request, receiver: _Receiver) -> MultipartParser:
    kind, parameters = parse_options_header(request.headers.get("content-type"))
    if kind != b"multipart/form-data":
        raise HTTPException(415, "Send the files as multipart/form-data.")
    boundary = parameters.get(b"boundary")
    if not boundary:
        raise HTTPException(400, "The Content-Type header names no boundary.")
    try:
        return MultipartParser(boundary, receiver.callbacks(), max_header_size=MAX_HEADER_BYTES)  # type: ignore[arg-type]
    except FormParserError as error:
        raise HTTPException(400, "The boundary of the multipart body is too long.") from error


async def _receive_all(request: Request, parser: MultipartParser, receiver: _Receiver, held: HeldBody) -> None:
    malformed = False
    async for chunk in request.stream():
        if not chunk:
            break
        if malformed:
            receiver.discarded_bytes += len(chunk)
        else:
            try:
                parser.write(chunk)
            except FormParserError:
                malformed = True
        if receiver.discarded_bytes > MAX_DRAINED_BYTES:
            break  # enough of a refused body was read for politeness' sake
        # Where other bodies take the room, what was gathered is written at once.
        if receiver.pending_bytes >= STEP_BYTES or not held.set_bytes(receiver.held_bytes):
            await anyio.to_thread.run_sync(_write, receiver.take_steps())
            if not held.set_bytes(receiver.held_bytes):
                raise no_room()
    if receiver.refused is None and (malformed or not receiver.is_complete):
        raise HTTPException(400, "The multipart body is malformed or ends too early.")
    await anyio.to_thread.run_sync(_write, receiver.take_steps())


def _text(name: str, value: bytearray) -> str:
    try:
        return value.decode("utf-8")
    except UnicodeDecodeError as error:
        raise HTTPException(400, f"The field `{name[:80]}` is not UTF-8.") from error


def json_field(fields: Mapping[str, str], name: str) -> dict[str, Any] | None:
    """The JSON object in the form field `name`; None when it is absent, empty or null.

    Raises HTTPException (400) when it is not JSON, and InvalidOption when it is not an object.
    """
    text = fields.get(name, "")
    if not text.strip():
        return None
    try:
        value = json.loads(text, parse_constant=_refuse_constant)
        is_text = _HALF_PAIR.search(json.dumps(value, ensure_ascii=False)) is None
    except (ValueError, RecursionError) as error:
        raise HTTPException(400, f"The field `{name}` is not valid JSON.") from error
    if value is None:
        return None
    if isinstance(value, dict):
        if not is_text:
            message = "holds half of a surrogate pair, which is no text"
            raise InvalidOption(
                f"`{name}` {message}.", code="invalid_request", errors=(FieldError(f"/{name}", message),)
            )
        return value
    raise InvalidOption(
        f"The field `{name}` must be a JSON object.",
        code="invalid_request",
        errors=(FieldError(f"/{name}", "must be an object"),),
    )


def only_fields(form: UploadForm, known: set[str]) -> None:
    """Returns when the form has no other fields. Raises InvalidOption."""
    unknown = sorted(set(form.fields) - known)
    if unknown:
        raise InvalidOption(
            f"The form has a field that is not known: `{unknown[0][:80]}`. Known are {', '.join(sorted(known))}.",
            code="invalid_request",
            errors=tuple(FieldError(f"/{pointer_step(name[:80])}", "is not known") for name in unknown[:20]),
        )


def whole_number(name: str, text: str) -> int:
    """The integer in the form field `name`. Raises InvalidOption."""
    if not re.fullmatch(r"\s*-?\d{1,9}\s*", text, re.ASCII):
        raise InvalidOption(f"`{name}` must be an integer.", errors=(FieldError(f"/{name}", "must be an integer"),))
    return int(text)


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


def remove_abandoned(scratch: Path, older_than_s: float, now_s: float) -> None:
    """Removes the files of uploads that a process left behind when it was killed."""
    for path in scratch.glob(f"{SCRATCH_PREFIX}*"):
        try:
            if now_s - path.stat().st_mtime > older_than_s:
                path.unlink()
        except FileNotFoundError:
            continue
