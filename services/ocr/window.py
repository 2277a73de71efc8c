"""Has several pages in the OCR engine at the same time.

They come back in order, with few of them in memory.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from types import TracebackType
from typing import TYPE_CHECKING

from services.content import Limits
from services.ocr.base import OcrEngine, OcrResult

if TYPE_CHECKING:
    from PIL.Image import Image

Reading = tuple[OcrResult, int]
"""What was read on a page, and the milliseconds that it took."""


_PROCESS_BYTES = {"tesseract": 300 * 1024**2}
_LARGEST_PROCESS_BYTES = 600 * 1024**2
_PARSER_BYTES = 400 * 1024**2
"""Memory that a process of an engine takes at its largest (the second for every other engine), and what is left to the
process that parses. Source: measured at the largest prepared page, docs/decisions/0005-ocr-engines.md."""


class OcrWindow:
    """Threads that each drive one process of the engine: `limits.ocr_processes` of them, or fewer where the memory that
    the document may take is not enough for so many.

    `submit` blocks while as many pages are under way as there are threads and one more is waiting, so that at most that
    many pictures of pages are alive. Use as a context manager; leaving it drops what has not begun.
    """

    def __init__(self, engine: OcrEngine, languages: Sequence[str], limits: Limits) -> None:
        self._engine = engine
        self._languages = tuple(languages)
        self._limits = limits
        room = (limits.memory_bytes - _PARSER_BYTES) // _PROCESS_BYTES.get(engine.name, _LARGEST_PROCESS_BYTES)
        self._processes = max(1, min(limits.ocr_processes, room))
        self._threads: ThreadPoolExecutor | None = None
        self._under_way: set[Future[Reading]] = set()

    def __enter__(self) -> OcrWindow:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._threads is not None:
            self._threads.shutdown(wait=True, cancel_futures=True)
            self._engine.close()

    def submit(self, image: Image, dpi: float) -> Future[Reading]:
        """Has `image` read; the future's error is what `OcrEngine.read` raises."""
        if self._threads is None:
            self._threads = ThreadPoolExecutor(self._processes, thread_name_prefix="ocr")
        while len(self._under_way) > self._processes:
            _, self._under_way = wait(self._under_way, return_when="FIRST_COMPLETED")
        future = self._threads.submit(self._read, image, dpi)
        self._under_way.add(future)
        return future

    def _read(self, image: Image, dpi: float) -> Reading:
        start = time.monotonic()
        result = self._engine.read(image, languages=self._languages, dpi=dpi, timeout_s=self._limits.ocr_page_s)
        return result, round(1000 * (time.monotonic() - start))
