"""Accepts uploads; lists, reads, changes, deletes and reprocesses documents."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any, Literal, TypeVar

from database.cursors import decode_cursor, encode_cursor
from database.documents import children, contents, document_aliases, documents, images
from database.jobs import jobs
from database.records import (
    Actor,
    ChunkRecord,
    DocumentFilter,
    DocumentRecord,
    ImageRecord,
    JobRecord,
    Json,
    ListPage,
    PageRecord,
)
from services.accounts.quotas import StorageQuota
from services.content import Received
from services.documents.page_images import MAX_PAGE_NUMBER, forget_page_images, no_page
from services.errors import (
    DocatlasError,
    FieldError,
    InputError,
    InvalidOption,
    TooLarge,
    TransientError,
)
from services.filters import check_conditions, check_time, refusing_bad_queries
from services.formats.detection.detect import Detection, detect_format
from services.formats.office.libreoffice import libreoffice_missing
from services.formats.registry import Format
from services.missing import no_document, no_image
from services.options import Options, parse_options
from services.queue.job_view import JobView
from services.queue.submission import announce_all, queue_positions, release_stopped
from services.runtime import Runtime
from services.storage import remove_unreferenced

T = TypeVar("T")

ADOPTING_THREADS = 4
"""Files that are made durable at the same time.

Source: 50 files of 2 kB took 38 ms one after another, 18 ms with four at a time, 21 ms with eight (ext4, virtual disk):
the journal's commits are merged.
"""


@dataclass(frozen=True, slots=True)
class Difference:
    """What an upload says otherwise than the document that holds its bytes already."""

    member: Literal["filename", "metadata"]
    stored: Any
    """What the document had before the upload."""
    given: Any
    """What the upload says."""

    def as_json(self) -> dict[str, Any]:
        return {"member": self.member, "stored": self.stored, "given": self.given}


@dataclass(frozen=True, slots=True)
class Accepted:
    """What became of one file."""

    filename: str
    outcome: Literal["created", "duplicate", "updated", "rejected"]
    document: DocumentRecord | None = None
    job: JobView | None = None
    error: DocatlasError | None = None
    changed: Sequence[Difference] = ()
    """What the document has from this upload now."""
    kept: Sequence[Difference] = ()
    """What the document keeps, although the upload says otherwise."""


def too_large(limit: int) -> TooLarge:
    """The error for a file that is longer than `limit` bytes."""
    return TooLarge(
        f"The file is larger than the limit of {limit:,} bytes. Split it, or raise DOCATLAS_MAX_UPLOAD_BYTES.",
        code="file_too_large",
        facts={"limit": limit},
    )


def accept(
    runtime: Runtime,
    actor: Actor,
    files: Sequence[Received],
    *,
    options: Mapping[str, Any] | None = None,
    metadata: Json | None = None,
    embed: bool = True,
    options_at: str = "/options",
) -> list[Accepted]:
    """Stores the files and queues their jobs; one entry a file, in order.

    Consumes the files on disk. Without `embed` the text is stored and no vectors. `options_at` is the pointer to the
    options in the request. A file that is refused does not cost the others, but a single one raises its error. Raises
    InvalidOption, and CapabilityMissing for an OCR language that is asked for and not installed.
    """
    files = _within_quota(runtime, actor, files)
    parsed = parse_options(options, defaults=runtime.settings.default_options, at=options_at, is_request=True)
    parsed = replace(parsed, embed=embed)
    _require_languages(runtime, options, parsed)
    password = (options or {}).get("password")
    if not files:
        raise InvalidOption(
            "The request holds no file. Send at least one part named `files`.",
            code="invalid_request",
            errors=(FieldError("/files", "is required"),),
        )
    with ThreadPoolExecutor(min(ADOPTING_THREADS, len(files)), thread_name_prefix="adopt") as pool:
        checked = list(pool.map(lambda file: _check_and_adopt(runtime, file), files))
    accepted: list[Accepted] = []
    stopped: list[str] = []
    with runtime.passwords.keeping(password) as keep, runtime.store.begin(actor, write=True) as tx:
        quota = StorageQuota(runtime.settings, tx)
        for file, found in zip(files, checked, strict=True):
            if isinstance(found, DocatlasError) or file.upload is None:
                error = found if isinstance(found, DocatlasError) else file.error
                accepted.append(Accepted(file.filename, "rejected", error=error))
                continue
            if not runtime.blobs.is_here(file.upload.sha256):
                # The document with the same bytes was deleted between `adopt` and here: see
                # database.documents.documents.delete.
                gone = TransientError("The same file was being deleted at this moment. Upload it again.")
                accepted.append(Accepted(file.filename, "rejected", error=gone))
                continue
            over_quota = quota.admit(file.upload.sha256, file.upload.size_bytes)
            if over_quota is not None:
                accepted.append(Accepted(file.filename, "rejected", error=over_quota))
                continue
            submission = documents.submit_upload(
                tx,
                filename=file.filename,
                file_type=found.format.value,
                media_type=found.media_type,
                file_size=file.upload.size_bytes,
                sha256=file.upload.sha256,
                options=parsed.as_json(),
                metadata=metadata or {},
            )
            stopped.extend(submission.superseded)
            job = submission.job
            if job is not None:
                keep(job.job_id)
            view = None if job is None else JobView(job, None)
            found_otherwise = _differences(submission.before, file.filename, metadata)
            has_changed = submission.outcome == "updated"
            accepted.append(
                Accepted(
                    file.filename,
                    submission.outcome,
                    submission.document,
                    view,
                    changed=found_otherwise if has_changed else (),
                    kept=() if has_changed else found_otherwise,
                )
            )
        given = [entry.job.job for entry in accepted if entry.job]
        new = {entry.job.job.job_id for entry in accepted if entry.job and entry.outcome != "duplicate"}
        places = queue_positions(tx, (job for job in given if job.status == "queued"), new)
    runtime.blobs.share(
        file.upload.sha256 for file, entry in zip(files, accepted, strict=True) if file.upload and entry.document
    )
    accepted = [
        entry if entry.job is None else replace(entry, job=JobView(entry.job.job, places.get(entry.job.job.job_id)))
        for entry in accepted
    ]
    announce_all(runtime.queue, (entry.job.job for entry in accepted if entry.job and entry.outcome != "duplicate"))
    release_stopped(runtime.passwords, runtime.notifier, stopped)
    first = accepted[0]
    if len(accepted) == 1 and first.error is not None:
        raise first.error
    return accepted


def _differences(before: DocumentRecord | None, filename: str, metadata: Json | None) -> list[Difference]:
    """Where the upload says something, and something else than the document did."""
    if before is None:
        return []
    found: list[Difference] = []
    if filename != before.filename:
        found.append(Difference("filename", before.filename, filename))
    if metadata and metadata != before.metadata:
        found.append(Difference("metadata", dict(before.metadata), dict(metadata)))
    return found


def _require_languages(runtime: Runtime, given: Mapping[str, Any] | None, options: Options) -> None:
    """Returns when the OCR languages that the request names are installed.

    Raises CapabilityMissing. Without an OCR engine, or where the server's default is meant, only the pages that need it
    tell what is missing.
    """
    if (given or {}).get("ocr_languages") is None or options.ocr == "off" or runtime.ocr_engines.name == "none":
        return
    runtime.ocr_engines.require(options.ocr_languages)


def _within_quota(runtime: Runtime, actor: Actor, files: Sequence[Received]) -> list[Received]:
    """Refuses the files that the quota has no room for, before their bytes are kept.

    The transaction that writes the documents asks once more: another upload may take the room meanwhile.
    """
    with runtime.store.begin(actor) as tx:
        quota = StorageQuota(runtime.settings, tx)
        checked: list[Received] = []
        for file in files:
            error = file.error
            if file.upload is not None:
                error = quota.admit(file.upload.sha256, file.upload.size_bytes)
            checked.append(file if error is None else Received(file.filename, None, error))
    return checked


def _check_and_adopt(runtime: Runtime, file: Received) -> Detection | DocatlasError:
    """The file's format, once its bytes are in the blob store, or why it is refused."""
    if file.upload is None:
        return file.error or InputError("The file could not be read.")
    try:
        detection = detect_format(file.upload.path, file.filename, runtime.settings.limits)
        if detection.format is Format.PPT and runtime.libreoffice is None:
            return libreoffice_missing("a .ppt file")
        runtime.blobs.adopt(file.upload.path, file.upload.sha256)
    except InputError as error:
        return error
    return detection


def list_documents(
    runtime: Runtime,
    actor: Actor,
    *,
    only: DocumentFilter,
    status: Sequence[str] = (),
    file_type: Sequence[str] = (),
    created_after: str | None = None,
    name_contains: str | None = None,
    parent_id: str | None = None,
    limit: int = 50,
    cursor: str | None = None,
) -> ListPage[DocumentRecord]:
    """Documents, newest first: the uploaded ones, or those inside `parent_id`.

    One whose job is being cancelled is shown, and found, as `in_progress`. Raises InvalidOption for a malformed cursor,
    filter or time.
    """
    check_conditions(only.conditions, at="/query")
    check_time(created_after, at="/query/created_after")
    with runtime.store.begin(actor) as tx, refusing_bad_queries():
        return documents.list_page(
            tx,
            only=only,
            status=[*status, "cancelling"] if "in_progress" in status else status,
            file_type=file_type,
            created_after=created_after,
            name_contains=name_contains,
            parent_id=parent_id,
            limit=limit,
            cursor=cursor,
        )


def get_document(runtime: Runtime, actor: Actor, document_id: str) -> DocumentRecord:
    """The document. Raises NotFound."""
    with runtime.store.begin(actor) as tx:
        return existing(documents.get(tx, document_id), document_id)


def moved_to(runtime: Runtime, actor: Actor, document_id: str) -> str | None:
    """The id of the document that `document_id` has become; None where it is no alias."""
    with runtime.store.begin(actor) as tx:
        return document_aliases.resolve(tx, document_id)


def update_document(
    runtime: Runtime, actor: Actor, document_id: str, *, title: str | None, metadata: Json | None
) -> DocumentRecord:
    """The document with the new title and metadata, where given. Raises NotFound."""
    with runtime.store.begin(actor, write=True) as tx:
        return existing(documents.update(tx, document_id, title=title, metadata=metadata), document_id)


def delete_document(runtime: Runtime, actor: Actor, document_id: str) -> None:
    """Deletes the document and those inside it, with all that belongs to them.

    That is every chunk, vector, picture and file; their jobs end. Raises NotFound.
    """
    with runtime.store.begin(actor, write=True) as tx:
        stopped = children.unfinished_inside(tx, document_id)
        family = children.family(tx, document_id)
        released = documents.delete(tx, document_id)
        if released is None:
            raise no_document(document_id)
    remove_unreferenced(runtime.fallback, runtime.blobs, released)
    for member_id in family:
        forget_page_images(runtime, member_id)
    release_stopped(runtime.passwords, runtime.notifier, stopped)


def reprocess(runtime: Runtime, actor: Actor, document_id: str, options: Mapping[str, Any] | None) -> JobView:
    """Queues the job that reads the stored original again.

    Options left out are the document's own. Raises NotFound, InvalidOption, and CapabilityMissing as `accept`.
    """
    password = (options or {}).get("password")
    with runtime.passwords.keeping(password) as keep, runtime.store.begin(actor, write=True) as tx:
        document = existing(documents.get(tx, document_id), document_id)
        own = parse_options(document.options, defaults=runtime.settings.default_options)
        parsed = parse_options(options, defaults=own, at="", is_request=True)
        _require_languages(runtime, options, parsed)
        stopped = jobs.unfinished_ids(tx, document_id)
        job = documents.resubmit(tx, document_id, parsed.as_json())
        keep(job.job_id)
        view = JobView(job, jobs.queue_position(tx, job))
    runtime.queue.announce(job.job_id)
    release_stopped(runtime.passwords, runtime.notifier, stopped)
    return view


def list_images(
    runtime: Runtime, actor: Actor, document_id: str, *, limit: int, cursor: str | None
) -> ListPage[ImageRecord]:
    """The pictures of a document, in order.

    Raises NotFound, and InvalidOption for a malformed cursor.
    """
    behind = _position(cursor)
    with runtime.store.begin(actor) as tx:
        existing(documents.get(tx, document_id), document_id)
        found = [image for image in images.list_images(tx, document_id) if image.ordinal > behind]
    return _first(found, limit, lambda image: image.ordinal)


def get_image(runtime: Runtime, actor: Actor, image_id: str) -> ImageRecord:
    """The picture's record. Raises NotFound."""
    with runtime.store.begin(actor) as tx:
        image = images.get_image(tx, image_id)
    if image is None:
        raise no_image(image_id)
    return image


def list_chunks(
    runtime: Runtime, actor: Actor, document_id: str, *, limit: int, cursor: str | None
) -> ListPage[ChunkRecord]:
    """The chunks of a document, in order.

    Raises NotFound, and InvalidOption for a malformed cursor.
    """
    with runtime.store.begin(actor) as tx, refusing_bad_queries():
        existing(documents.get(tx, document_id), document_id)
        return contents.list_chunks(tx, document_id, limit=limit, cursor=cursor)


def list_pages(
    runtime: Runtime, actor: Actor, document_id: str, *, limit: int, cursor: str | None
) -> ListPage[PageRecord]:
    """The pages of a document without their layout, in order.

    Raises NotFound, and InvalidOption for a malformed cursor.
    """
    behind = _position(cursor)
    with runtime.store.begin(actor) as tx:
        existing(documents.get(tx, document_id), document_id)
        pages = (page for page in contents.read_pages(tx, document_id) if page.number > behind)
        return _first(list(islice(pages, limit + 1)), limit, lambda page: page.number)


def get_page(runtime: Runtime, actor: Actor, document_id: str, number: int) -> PageRecord:
    """Page `number` (from 1) with its layout. Raises NotFound."""
    with runtime.store.begin(actor) as tx:
        existing(documents.get(tx, document_id), document_id)
        page = contents.read_page(tx, document_id, number) if 1 <= number <= MAX_PAGE_NUMBER else None
    if page is None:
        raise no_page(number)
    return page


def newest_jobs(runtime: Runtime, actor: Actor, document_ids: Sequence[str]) -> Mapping[str, JobRecord]:
    """The newest job of each document, by the document's id."""
    with runtime.store.begin(actor) as tx:
        return jobs.latest_of(tx, document_ids)


def children_of(runtime: Runtime, actor: Actor, document_id: str) -> Sequence[str]:
    """Ids of the documents that lie in this one, oldest first."""
    with runtime.store.begin(actor) as tx:
        return documents.children(tx, document_id)


def _position(cursor: str | None) -> int:
    """The position in a document that a cursor of its pages or pictures stands for."""
    if cursor is None:
        return -1
    with refusing_bad_queries():
        return int(decode_cursor(cursor, (int,))[0])


def _first(items: Sequence[T], limit: int, position: Callable[[T], int]) -> ListPage[T]:
    data = items[:limit]
    return ListPage(data, encode_cursor([position(data[-1])]) if len(items) > limit else None)


def existing(document: DocumentRecord | None, document_id: str) -> DocumentRecord:
    """`document`. Raises NotFound when it is None."""
    if document is None:
        raise no_document(document_id)
    return document
