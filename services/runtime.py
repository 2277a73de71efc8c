"""Wires the parts together: `open_runtime` alone chooses implementations."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any

from database.blobs.base import BlobStore
from database.blobs.opening import open_blobs
from database.fallback.base import Fallback
from database.fallback.none import NoFallback
from database.jobs import jobs as job_rows
from database.records import Actor
from database.store import Store
from services.accounts.wiring import open_accounts
from services.content import Picture, Upload
from services.embedding.base import ImageEmbedder, TextEmbedder
from services.embedding.opening import open_image_embedder, open_text_embedder
from services.errors import CapabilityMissing, UnreadableDocument, UnsupportedFormat
from services.formats.detection.detect import detect_format
from services.formats.office.libreoffice import find_libreoffice
from services.formats.registry import PICTURE_FORMATS, Format
from services.ocr.engines import Engines, find_engines
from services.ocr.tesseract.install import TesseractInstall
from services.options import Options
from services.queue.embedded import EmbeddedQueue
from services.queue.job_view import JobView
from services.queue.notifier import JobNotifier
from services.queue.passwords import PasswordVault
from services.queue.queue import Queue
from services.sandbox.extract import ExtractRequest, extract, rendered_page
from services.sandbox.ocr_choice import pack_choice
from services.sandbox.pool import ChildPool
from services.settings import Settings
from services.stores import open_configured_store

_log = logging.getLogger(__name__)


class Runtime:
    """Everything that a request or a job needs.

    Opened once a process and closed at its end. Thread-safe.
    """

    def __init__(
        self,
        settings: Settings,
        store: Store,
        blobs: BlobStore,
        text_embedder: TextEmbedder,
        queue: Queue,
        *,
        fallback: Fallback | None = None,
    ) -> None:
        """Without a `fallback`, `store` is the only database."""
        self.settings = settings
        self.store = store
        self.fallback = fallback or NoFallback(store)
        self.main_store = self.fallback.main
        self.blobs = blobs
        self.text_embedder = text_embedder
        self.passwords = PasswordVault()
        self.children = ChildPool(tokenizer=text_embedder.tokenizer_path, hidden=[settings.data_dir])
        self.queue = queue
        self.notifier = JobNotifier(self._read_jobs)
        self.accounts = open_accounts(settings, store)
        self._lock = threading.Lock()
        self._image_embedder: ImageEmbedder | None = None
        self._image_model_problem: CapabilityMissing | None = None

    @property
    def image_embedder(self) -> ImageEmbedder | None:
        """The picture model, or None while there are no usable weights.

        They are looked for again on each call.
        """
        with self._lock:
            if self._image_embedder is None:
                try:
                    self._image_embedder = open_image_embedder(self.settings)
                    self._image_model_problem = None
                except CapabilityMissing as error:
                    if self._image_model_problem is None:
                        _log.warning("the picture model cannot be used: %s", error.detail)
                    self._image_model_problem = error
            return self._image_embedder

    @property
    def image_model_problem(self) -> CapabilityMissing | None:
        """Why the configured picture model cannot be used.

        None where it can, or where none is configured.
        """
        return self._image_model_problem

    @cached_property
    def ocr_engines(self) -> Engines:
        """The OCR engines in use; none where none is installed or the settings want none."""
        settings = self.settings
        return find_engines(settings.ocr_engine, tesseract_path=settings.tesseract_path, cache_dir=settings.cache_dir)

    @property
    def tesseract(self) -> TesseractInstall | None:
        """The Tesseract among the OCR engines in use."""
        return self.ocr_engines.tesseract

    @cached_property
    def libreoffice(self) -> Path | None:
        """The program that converts old Office files; None where it is not installed."""
        return find_libreoffice(self.settings.libreoffice_path)

    @cached_property
    def ocr_choice(self) -> dict[str, Any] | None:
        """The engines as the parsing child is told of them."""
        return pack_choice(self.ocr_engines)

    def warm_up(self) -> None:
        """Begins to load the text model and the parsers, before the first query or file."""
        self.children.warm_up()
        threading.Thread(target=self._load_text_model, name="warm-up", daemon=True).start()

    def _load_text_model(self) -> None:
        try:
            self.text_embedder.warm_up()
        except CapabilityMissing as error:
            _log.error("the text model cannot be used: %s", error.detail)

    @contextmanager
    def extract_query_picture(self, path: Path) -> Iterator[Path]:
        """A safe copy of the uploaded picture at `path`, valid inside the block.

        A child process decodes it and writes it again. Raises UnsupportedFormat when it is not a picture, and what its
        decoding raises.
        """
        detection = detect_format(path, path.name, self.settings.limits)
        if detection.format not in PICTURE_FORMATS:
            raise UnsupportedFormat(
                f"Search by picture takes a file of one of these formats: {', '.join(sorted(PICTURE_FORMATS))}.",
                facts={"supported": sorted(f.value for f in PICTURE_FORMATS)},
            )
        request = ExtractRequest(
            upload=Upload(path, path.name, detection.media_type, "", path.stat().st_size),
            format=detection.format,
            options=Options(ocr="off", pages="1"),
            limits=self.settings.limits,
            chunk=False,
        )
        with closing(extract(request, scratch=self.blobs.scratch(), pool=self.children)) as pieces:
            for piece in pieces:
                if isinstance(piece, Picture):
                    yield piece.path
                    return
        raise UnreadableDocument("The picture could not be decoded.", code="picture_corrupt")

    def render_file(
        self, upload: Upload, format: Format, number: int, width: int, *, password: str | None = None
    ) -> tuple[bytes, str]:
        """Page `number` (from 1) as a picture `width` pixels wide: bytes, media type.

        Raises NotFound where the format has no such page, and what reading the file raises.
        """
        return rendered_page(
            upload,
            format,
            number,
            width,
            limits=self.settings.limits,
            password=password,
            scratch=self.blobs.scratch(),
            pool=self.children,
        )

    def close(self) -> None:
        """Ends the parsing processes, and closes all that the runtime holds.

        Whoever started a worker on this runtime has stopped it before.
        """
        self.children.close()
        self.notifier.close()
        self.queue.close()
        self.accounts.close()
        self.store.close()
        self.blobs.close()

    def _read_jobs(self, actor: Actor, job_ids: Sequence[str]) -> Mapping[str, JobView]:
        with self.store.begin(actor) as tx:
            found = job_rows.get_many(tx, job_ids)
            return {
                job_id: JobView(job, job_rows.queue_position(tx, job) if job.status == "queued" else None)
                for job_id, job in found.items()
            }


def open_runtime(settings: Settings, *, queue: Queue | None = None) -> Runtime:
    """A runtime on the database and data folder of `settings`, migrated.

    Models are loaded when they are first needed. `queue`, which the runtime closes, replaces the queue of this process
    alone.
    """
    opened = open_configured_store(settings)
    key = settings.supabase_service_key
    blobs = open_blobs(
        settings.blob_storage,
        settings.data_dir / "blobs",
        supabase_url=settings.supabase_url,
        service_key="" if key is None else key.get_secret_value(),
        bucket=settings.storage_bucket,
        cache_bytes=settings.storage_cache_bytes,
        # A child may open its file again as long as it runs.
        handed_s=max(3600.0, 2 * settings.parse_wall_s),
    )
    embedder = open_text_embedder(settings)
    return Runtime(settings, opened.store, blobs, embedder, queue or EmbeddedQueue(), fallback=opened.fallback)
