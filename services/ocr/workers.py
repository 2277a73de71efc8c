"""Reads pages in processes of their own.

One that takes too long or crashes an engine costs that page only.
"""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from services.errors import UnreadableDocument
from services.ocr.base import OcrEngine, OcrResult, too_slow
from services.ocr.frames import read_frame, unpack_result, write_frame
from services.ocr.preparation import to_gray

if TYPE_CHECKING:
    from PIL.Image import Image

_ROOT = Path(__file__).resolve().parents[2]

PAGES_PER_PROCESS = 200
"""A process ends after so many pages, whatever its engines may have kept of them by then."""

_ALLOCATION = {"MALLOC_ARENA_MAX": "2", "MALLOC_MMAP_THRESHOLD_": "4194304", "MALLOC_TRIM_THRESHOLD_": "4194304"}
"""glibc's settings under which large buffers go back to the system at once. Source: mallopt(3); measured on RapidOCR's
detection at 2,000 by 1,400 pixels: 510 MB at most and 120 MB kept with them, 750 and 370 without."""

GRACE_S = 1.0
"""Seconds beyond a page's time after which its process is killed; engines that can stop by themselves do so before."""


class OcrWorkers:
    """Reads each page in a process: as many at a time as threads call.

    A process goes on with the next page.

    A process loads an engine at its first page that needs it. It ends with this process, whose end closes its input.
    """

    def __init__(self, engine: OcrEngine, packed: Mapping[str, Any]) -> None:
        """`engine` tells what can be read and `packed` is the same for the processes: see services.ocr.engines."""
        self.name = engine.name
        self.version = engine.version
        self._engine = engine
        self._packed = dict(packed)
        self._idle: list[_Worker] = []
        self._lock = threading.Lock()

    def languages(self) -> tuple[str, ...]:
        return self._engine.languages()

    def require(self, languages: Sequence[str]) -> None:
        self._engine.require(languages)

    def read(self, image: Image, *, languages: Sequence[str], dpi: float, timeout_s: float) -> OcrResult:
        self.require(languages)
        with self._lock:
            worker = self._idle.pop() if self._idle else None
        worker = worker or _Worker(self._packed)
        try:
            return worker.read(to_gray(image), languages, dpi, timeout_s)
        finally:
            self._put_back(worker)

    def _put_back(self, worker: _Worker) -> None:
        if worker.is_broken or worker.pages >= PAGES_PER_PROCESS:
            worker.end()
            return
        with self._lock:
            self._idle.append(worker)

    def close(self) -> None:
        with self._lock:
            idle, self._idle = self._idle, []
        for worker in idle:
            worker.end()


class _Worker:
    """One process; used by one thread at a time."""

    def __init__(self, packed: Mapping[str, Any]) -> None:
        environment = {
            **os.environ,
            "PYTHONPATH": str(_ROOT),
            "PYTHONDONTWRITEBYTECODE": "1",
            "OMP_THREAD_LIMIT": "1",
            "OMP_NUM_THREADS": "1",
            "OPENBLAS_NUM_THREADS": "1",
            **_ALLOCATION,
        }
        self._process = subprocess.Popen(
            [sys.executable, "-s", "-P", "-m", "services.ocr.worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=environment,
        )
        self._packed: Mapping[str, Any] | None = packed
        self.pages = 0
        self.is_broken = False

    def read(self, gray: Image, languages: Sequence[str], dpi: float, timeout_s: float) -> OcrResult:
        """What `OcrEngine.read` gives and raises.

        Afterwards `is_broken` tells whether the process can go on.
        """
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        request: dict[str, Any] = {
            "size": list(gray.size), "languages": list(languages), "dpi": dpi, "timeout_s": timeout_s,
        }  # fmt: skip
        if self._packed is not None:
            request["engines"], self._packed = self._packed, None
        self.pages += 1
        self.is_broken = True  # until its answer is here: whatever ends the exchange in between leaves it half done
        late = threading.Event()

        def stop() -> None:
            late.set()
            self._process.kill()

        timer = threading.Timer(timeout_s + GRACE_S, stop)
        timer.daemon = True
        timer.start()
        try:
            write_frame(self._process.stdin, request, gray.tobytes())
            reply, _ = read_frame(self._process.stdout)
            self.is_broken = False
            return unpack_result(reply)
        except (OSError, EOFError) as error:
            if late.is_set():
                raise too_slow(timeout_s) from error
            raise UnreadableDocument(
                "The OCR engine crashed on the page. Upload the page at another resolution, or save it anew.",
                code="ocr_failed",
            ) from error
        finally:
            timer.cancel()
            timer.join()
            # The time may have run out while the answer was on its way: the process is dead then, the page is read.
            self.is_broken = self.is_broken or late.is_set()

    def end(self) -> None:
        """Kills the process and waits for its end."""
        self._process.kill()
        for stream in (self._process.stdin, self._process.stdout):
            if stream is not None:
                with suppress(OSError):
                    stream.close()
        self._process.wait()
