"""Reads, chunks, embeds and stores one document under a new generation.

Every step can be repeated. Pages, chunks and vectors are written in short transactions under the job's generation,
which readers do not see; a run that was killed is resumed by the next one, which finds the pages and the vectors that
are already there. One short transaction switches readers to the generation and ends the job, or lets it wait for the
documents that were found inside this one and whose jobs it queues.
"""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Generator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from database.documents import contents, documents, images
from database.ids import new_id
from database.records import (
    Actor,
    ChunkRecord,
    DocumentRecord,
    GenerationSummary,
    ImageRecord,
    PageRecord,
    Vector,
    status_with,
    worker_for,
)
from services.content import (
    PAGE_SEPARATOR,
    Attachment,
    Chunk,
    DocumentInfo,
    Issue,
    Page,
    Picture,
    Progress,
    Upload,
)
from services.errors import CapabilityMissing, EncryptedDocument, NotFound
from services.formats.detection.detect import detect_format
from services.ingest.children import ChildWriter
from services.ingest.image_vectors import embed_images, pending_vectors_issue
from services.ingest.run import Run
from services.options import Options, parse_options
from services.page_json import pack_layout
from services.runtime import Runtime
from services.sandbox.extract import ExtractRequest, Piece, extract
from services.sandbox.known_pages import page_line
from services.sandbox.wire import pack_span
from services.storage import require_original

EMBED_BATCH = 16
"""Chunks that are embedded and written together; the embedder cuts smaller batches by tokens itself.

Small, because a job hears only between two of them that it was cancelled."""

EXTRACTION_PERCENT = 50.0
"""Where a job's progress stands when its pages are read and its vectors begin."""


@dataclass(frozen=True, slots=True)
class IngestReport:
    """What an ingest leaves to be written when its job ends."""

    summary: GenerationSummary
    pages_read: int
    children: Sequence[str] = ()
    """Ids of the documents that were found inside this one; their jobs are queued when it is published."""


@dataclass(slots=True)
class _State:
    info: DocumentInfo = field(default_factory=DocumentInfo)
    warnings: list[Issue] = field(default_factory=list)
    page_issues: list[Issue] = field(default_factory=list)
    page_pictures: list[Picture] = field(default_factory=list)
    pages: int = 0
    chars: int = 0
    chunks: int = 0
    images: int = 0


def ingest_document(document_id: str, *, runtime: Runtime, run: Run) -> IngestReport:
    """Reads the stored original of `document_id` into the job's generation.

    What it stored can be published then. Raises the document's own problem (services.errors.InputError),
    CapabilityMissing, TransientError or NotFound.
    """
    job = run.job
    actor = worker_for(job.user_id)
    with runtime.store.begin(actor) as tx:
        document = documents.get(tx, document_id)
    if document is None:
        raise NotFound("The document was deleted while its job was waiting.")
    run.progress("detecting")
    options = parse_options(job.options)
    require_original(runtime.blobs, runtime.settings, document.sha256)
    with tempfile.TemporaryDirectory(prefix="resume-", dir=run.scratch, ignore_cleanup_errors=True) as folder:
        return _Ingest(runtime, run, actor, document, options).perform(Path(folder))


class _Ingest:
    """One run; holds what its steps share."""

    def __init__(self, runtime: Runtime, run: Run, actor: Actor, document: DocumentRecord, options: Options) -> None:
        self._runtime, self._run, self._actor = runtime, run, actor
        self._document, self._options = document, options
        self._generation = run.job.generation
        self._state = _State()
        self._waiting: list[Chunk] = []
        self._children = ChildWriter(runtime, actor, document, options)
        self._stored_hashes: Mapping[int, str] = {}
        self._stored_pictures: Sequence[str] = ()

    def perform(self, folder: Path) -> IngestReport:
        """Reads, stores and embeds the document; `folder` is private to this run."""
        state = self._state
        known = self._recall(folder / "known-pages.tsv")
        with closing(self._pieces(folder / "known-pages.tsv" if known else None)) as pieces:
            for piece in pieces:
                self._keep(piece, known)
                self._run.tick()
        rest = self._children.rest()
        state.warnings += state.page_issues + ([] if rest is None else [rest])
        # A small document needs one transaction for its chunks with their vectors; a large one is embedded afterwards,
        # so that its text can be read meanwhile and a run that is killed finds the vectors that are done.
        self._keep_chunks(with_vectors=self._options.embed and state.chunks == 0)
        if self._options.embed:
            self._run.progress("embedding")
            self._embed_chunks()
        self._embed_pictures()
        self._run.progress("storing", percent=self._last_percent)
        return IngestReport(self._summary(), state.pages, self._children.ids)

    @property
    def _last_percent(self) -> float:
        """The percentage when all is stored; the documents inside make up the rest."""
        return EXTRACTION_PERCENT if self._children.ids else 99.0

    def _recall(self, file: Path) -> Mapping[int, list[Issue]]:
        """Writes the pages that an interrupted run has stored to `file`.

        Returns their issues by page number.
        """
        document_id = self._document.document_id
        issues: dict[int, list[Issue]] = {}
        with self._runtime.store.begin(self._actor) as tx, file.open("w", encoding="utf-8") as lines:
            self._stored_hashes = contents.chunk_hashes(tx, document_id, self._generation)
            self._stored_pictures = [i.sha256 for i in images.images_written(tx, document_id, self._generation)]
            for page in contents.pages_written(tx, document_id, self._generation):
                issues[page.number] = _issues_of(page)
                lines.write(page_line(_packed_page(page)))
        self._state.images = len(self._stored_pictures)
        return issues

    def _keep(self, piece: Piece, known: Mapping[int, list[Issue]]) -> None:
        state = self._state
        match piece:
            case DocumentInfo():
                state.info = piece
            case Progress():
                self._show_pages(piece.stage, piece.pages_done, piece.pages_total)
            case Issue():
                state.page_issues.append(piece)
            case Picture():
                state.page_pictures.append(piece)
            case Attachment():
                left_out = self._children.keep(piece)
                state.page_issues += [] if left_out is None else [left_out]
            case Page():
                if piece.number in known:
                    state.page_issues = known[piece.number]
                self._keep_page(piece, is_known=piece.number in known)
            case Chunk():
                self._waiting.append(piece)
                if len(self._waiting) >= EMBED_BATCH:
                    self._keep_chunks()

    def _pieces(self, known_pages: Path | None) -> Generator[Piece]:
        runtime, document = self._runtime, self._document
        upload = Upload(
            path=runtime.blobs.path(document.sha256),
            filename=document.filename,
            declared_type=document.media_type,
            sha256=document.sha256,
            size_bytes=document.file_size,
        )
        # Detected again, not taken from the row: what speaks against the file's name is a warning of this document.
        detection = detect_format(upload.path, upload.filename, runtime.settings.limits)
        yield from detection.warnings
        request = ExtractRequest(
            upload=upload,
            format=detection.format,
            options=self._options,
            limits=runtime.settings.limits,
            password=runtime.passwords.of(self._run.job.job_id),
            ocr=runtime.ocr_choice,
            tokenizer=runtime.text_embedder.tokenizer_path,
            max_tokens=runtime.text_embedder.max_tokens,
            known_pages=known_pages,
            known_pictures=self._stored_pictures,
            archive_depth=self._children.lineage.depth,
            libreoffice=runtime.libreoffice,
        )
        try:
            with closing(
                extract(request, scratch=self._run.scratch, tick=self._run.tick, pool=runtime.children)
            ) as pieces:
                yield from pieces
        except EncryptedDocument as error:
            if request.password is None and self._run.job.attempts > 1:
                raise EncryptedDocument(
                    "The document is protected by a password, which is kept in memory only and was lost when the "
                    "server was restarted. Reprocess it with `options.password`.",
                    code=error.code,
                ) from error
            raise

    def _image_record(self, picture: Picture, ordinal: int) -> ImageRecord:
        return ImageRecord(
            image_id=new_id(),
            document_id=self._document.document_id,
            generation=self._generation,
            ordinal=ordinal,
            page=picture.page,
            box=picture.box,
            width=picture.width,
            height=picture.height,
            media_type=picture.media_type,
            sha256=picture.sha256,
            alt=picture.alt,
            caption=picture.caption,
            space=None,
        )

    def _keep_page(self, page: Page, *, is_known: bool) -> None:
        """Stores a page with its pictures in one transaction: as a whole, or not."""
        state = self._state
        char_start = state.chars + (len(PAGE_SEPARATOR) if state.pages else 0)
        if not is_known:
            layout = pack_layout(page)
            layout["issues"] = [{"code": i.code, "message": i.message, "page": i.page} for i in state.page_issues]
            record = PageRecord(
                number=page.number,
                char_start=char_start,
                text=page.text,
                width=page.width,
                height=page.height,
                source=page.source.value,
                reason=page.reason,
                rotation=page.rotation,
                confidence=page.confidence,
                languages=list(page.languages),
                word_count=len(page.words) or len(page.text.split()),
                elapsed_ms=page.elapsed_ms,
                engine=page.engine,
                layout=layout,
            )
            with self._runtime.store.begin(self._actor, write=True) as tx:
                for ordinal, picture in enumerate(state.page_pictures, state.images):
                    # Adopted in here: a document with the same picture that is deleted meanwhile waits for this row.
                    self._runtime.blobs.adopt(picture.path, picture.sha256)
                    record_of_image = self._image_record(picture, ordinal)
                    images.write_image(tx, self._document.document_id, self._generation, record_of_image)
                contents.write_page(tx, self._document.document_id, self._generation, record)
            self._runtime.blobs.share(picture.sha256 for picture in state.page_pictures)
            state.images += len(state.page_pictures)
        state.warnings += state.page_issues
        state.page_issues, state.page_pictures = [], []
        state.pages += 1
        state.chars = char_start + len(page.text)
        stage = "ocr" if page.source.value == "ocr" else "extracting"
        self._show_pages(stage, state.pages, max(state.pages, state.info.page_count))

    def _show_pages(self, stage: str, done: int, total: int) -> None:
        """Tells the job how many pages are read; no percentage without a total."""
        percent = round(EXTRACTION_PERCENT * min(1.0, done / total), 1) if total else None
        self._run.progress(stage, pages_done=done, pages_total=total, percent=percent)

    def _keep_chunks(self, *, with_vectors: bool = False) -> None:
        """Writes the chunks that wait.

        One that an interrupted run has stored already stays, with its vector.
        """
        waiting, self._waiting = self._waiting, []
        self._state.chunks += len(waiting)
        new = [(c, h) for c in waiting if self._stored_hashes.get(c.ordinal) != (h := _content_hash(c))]
        if not new:
            return
        vectors = self._vectors({h: (c.prefix, c.text) for c, h in new}) if with_vectors else {}
        space = self._runtime.text_embedder.space if with_vectors else None
        records = [
            ChunkRecord(
                chunk_id=new_id(),
                document_id=self._document.document_id,
                generation=self._generation,
                chunk_index=chunk.ordinal,
                chunk_text=chunk.text,
                prefix=chunk.prefix,
                spans=[pack_span(span) for span in chunk.spans],
                content_hash=content_hash,
                space=space,
                embedding=vectors.get(content_hash),
            )
            for chunk, content_hash in new
        ]
        with self._runtime.store.begin(self._actor, write=True) as tx:
            contents.write_chunks(tx, self._document.document_id, self._generation, records)

    def _embed_chunks(self) -> None:
        """Computes the vectors that the generation lacks, a few chunks at a time."""
        document_id, generation = self._document.document_id, self._generation
        space, done = self._runtime.text_embedder.space, 0
        while True:
            with self._runtime.store.begin(self._actor) as tx:
                batch = contents.chunks_without_vector(tx, document_id, generation, space, EMBED_BATCH)
            if not batch:
                return
            vectors = self._vectors({c.content_hash: (c.prefix, c.chunk_text) for c in batch})
            with self._runtime.store.begin(self._actor, write=True) as tx:
                by_index = {chunk.chunk_index: vectors[chunk.content_hash] for chunk in batch}
                contents.write_chunk_vectors(tx, document_id, generation, space, by_index)
            done += len(batch)
            share = min(1.0, done / max(1, self._state.chunks))
            self._run.progress(
                "embedding", percent=EXTRACTION_PERCENT + (self._last_percent - EXTRACTION_PERCENT) * share
            )
            self._run.tick()

    def _vectors(self, wanted: Mapping[str, tuple[str, str]]) -> Mapping[str, Vector]:
        """Vectors by content hash of `(prefix, text)`.

        What the owner has in the same space is not computed again.
        """
        embedder = self._runtime.text_embedder
        with self._runtime.store.begin(self._actor) as tx:
            vectors = dict(contents.cached_vectors(tx, embedder.space, list(wanted)))
        missing = [content_hash for content_hash in wanted if content_hash not in vectors]
        if missing:
            self._run.progress("embedding")
            rows = embedder.embed([embedded_text(*wanted[content_hash]) for content_hash in missing])
            vectors.update(zip(missing, rows, strict=True))
        return vectors

    def _embed_pictures(self) -> None:
        if not self._options.embed or not self._state.images:
            return
        embedder = self._runtime.image_embedder
        with self._runtime.store.begin(self._actor) as tx:
            pending = images.images_written(tx, self._document.document_id, self._generation)
        if embedder is None:
            self._state.warnings.append(pending_vectors_issue())
            return
        pending = [image for image in pending if image.space != embedder.space]
        self._run.progress("images")
        try:
            _, unreadable = embed_images(self._runtime, self._actor, pending, run=self._run)
        except CapabilityMissing:  # found out when the weights are loaded; the text must not suffer
            self._state.warnings.append(pending_vectors_issue())
            return
        for image in unreadable:
            message = "A picture could not be decoded by the picture model and is not searchable."
            self._state.warnings.append(Issue("picture_unreadable", message, image.page))

    def _summary(self) -> GenerationSummary:
        state = self._state
        warnings = [{"code": i.code, "message": i.message, "page": i.page} for i in dict.fromkeys(state.warnings)]
        return GenerationSummary(
            title=state.info.title,
            author=state.info.author,
            language=state.info.language,
            page_count=max(state.pages, state.info.page_count),
            total_chunks=state.chunks,
            total_chars=state.chars,
            image_count=state.images,
            status=status_with(warnings),
            warnings=warnings,
        )


def embedded_text(prefix: str, text: str) -> str:
    """What the model is given for a chunk."""
    return f"{prefix}\n{text}" if prefix else text


def _content_hash(chunk: Chunk) -> str:
    return hashlib.sha256(embedded_text(chunk.prefix, chunk.text).encode()).hexdigest()


def _issues_of(record: PageRecord) -> list[Issue]:
    return [Issue(**issue) for issue in record.layout.get("issues", ())]


def _packed_page(record: PageRecord) -> Mapping[str, Any]:
    """The record as services.page_json packs a page."""
    return {
        "number": record.number,
        "text": record.text,
        "width": record.width,
        "height": record.height,
        "source": record.source,
        "reason": record.reason,
        "rotation": record.rotation,
        "confidence": record.confidence,
        "languages": list(record.languages),
        "elapsed_ms": record.elapsed_ms,
        "layout": record.layout,
    }
