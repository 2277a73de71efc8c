"""The files inside a mail or an archive, on their way to documents of their own."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import Any

from database.documents import children, documents
from database.records import Actor, DocumentRecord
from services.content import Attachment, Issue
from services.errors import InputError, NotFound, TooLarge
from services.filenames import member_name
from services.formats.detection.detect import Detection, detect_format
from services.options import Options
from services.runtime import Runtime

_COUNT_EVERY = 100
"""Children between two counts of the whole nest. Other children of it may be growing at the same time: up to this many
more than the limit can come of each archive that is read at the same time."""
_MAX_NAMED = 100
"""Files that were left out and are named one by one; the rest of them is counted."""
_MAX_REASON_CHARS = 400


def options_inside(options: Mapping[str, Any]) -> dict[str, Any]:
    """The options of files inside a file that is read with `options`, for all pages."""
    return {**options, "pages": ""}


class ChildWriter:
    """Stores the attachments of one document as its children, still without jobs.

    For one run and one thread.
    """

    def __init__(self, runtime: Runtime, actor: Actor, document: DocumentRecord, options: Options) -> None:
        self._runtime, self._actor, self._document, self._options = runtime, actor, document, options
        self._ids: dict[str, None] = {}
        self._left_out = 0
        self._since_count: int | None = None
        self._inside = self._bytes_inside = 0

    @cached_property
    def lineage(self) -> children.Lineage:
        """Where the document lies. Raises NotFound when it is gone."""
        with self._runtime.store.begin(self._actor) as tx:
            try:
                return children.lineage(tx, self._document.document_id)
            except LookupError as error:
                raise NotFound("The document was deleted while its job ran.") from error

    @property
    def ids(self) -> tuple[str, ...]:
        """The children, in the order in which they were first seen, each once."""
        return tuple(self._ids)

    def keep(self, attachment: Attachment) -> Issue | None:
        """Stores an attachment, or says why it was left out.

        A file that is kept is moved. The same bytes under the same name are one child; a run that is repeated finds the
        one that is there.
        """
        name = member_name(attachment.filename)
        try:
            detection = self._check(attachment, name)
            self._store(attachment, name, detection)
        except InputError as error:
            attachment.path.unlink(missing_ok=True)
            self._left_out += 1
            if self._left_out > _MAX_NAMED:
                return None
            reason = error.detail.partition(" Supported are:")[0][:_MAX_REASON_CHARS]
            code = error.code if error.code in ("too_many_entries", "archive_too_large") else "attachment_skipped"
            return Issue(code, f"{name!r} was left out: {reason}")
        return None

    def rest(self) -> Issue | None:
        """How many more were left out than `keep` has named."""
        if self._left_out <= _MAX_NAMED:
            return None
        return Issue("attachment_skipped", f"{self._left_out - _MAX_NAMED:,} more files were left out.")

    def _check(self, attachment: Attachment, name: str) -> Detection:
        limit = self._runtime.settings.max_upload_bytes
        if attachment.size_bytes > limit:
            raise TooLarge(f"It is larger than the limit of {limit:,} bytes.", code="file_too_large")
        return detect_format(attachment.path, name, self._runtime.settings.limits)

    def _store(self, attachment: Attachment, name: str, detection: Detection) -> None:
        root_id = self.lineage.root_id
        with self._runtime.store.begin(self._actor, write=True) as tx:
            if documents.get(tx, self._document.document_id) is None:
                raise NotFound("The document was deleted while its job ran.")
            child_id = children.find(tx, self._document.document_id, attachment.sha256, name)
            if child_id is None:
                if self._since_count is None or self._since_count >= _COUNT_EVERY:
                    self._inside, self._bytes_inside = children.count_inside(tx, root_id)
                    self._since_count = 0
                self._check_nest(attachment.size_bytes)
                child_id = children.add(
                    tx,
                    self._document,
                    filename=name,
                    file_type=detection.format.value,
                    media_type=detection.media_type,
                    file_size=attachment.size_bytes,
                    sha256=attachment.sha256,
                    options=options_inside(self._options.as_json()),
                )
                self._since_count += 1
                self._inside += 1
                self._bytes_inside += attachment.size_bytes
            # Adopted in here: a document with the same bytes that is deleted meanwhile waits for this row.
            self._runtime.blobs.adopt(attachment.path, attachment.sha256)
        self._runtime.blobs.share([attachment.sha256])
        self._ids[child_id] = None

    def _check_nest(self, size_bytes: int) -> None:
        """Raises TooLarge where the upload as a whole has grown too large already."""
        limits = self._runtime.settings.limits
        if self._inside >= limits.max_archive_entries:
            raise TooLarge(
                f"The upload holds {limits.max_archive_entries:,} files already, at all levels together.",
                code="too_many_entries",
            )
        if self._bytes_inside + size_bytes > limits.max_unpacked_bytes:
            raise TooLarge(
                f"The upload would unpack to more than {limits.max_unpacked_bytes:,} bytes, at all levels together.",
                code="archive_too_large",
            )
