"""The process that reads pages: `python -m services.ocr.worker`.

Started by services.ocr.workers only.

Requests come on standard input, answers go to what was standard output; prints of libraries go nowhere. It ends when
its input does.
"""

from __future__ import annotations

import os
import sys
from typing import IO, Any

from services.errors import DocatlasError, Problem
from services.ocr.base import OcrEngine
from services.ocr.engines import open_worker_reader, unpack_engines
from services.ocr.frames import pack_failure, pack_result, read_frame, write_frame


def main() -> None:
    """Answers requests until there are no more."""
    requests = os.fdopen(os.dup(0), "rb")
    answers = os.fdopen(os.dup(1), "wb")
    null = os.open(os.devnull, os.O_RDWR)
    for standard in (0, 1, 2):
        os.dup2(null, standard)
    serve(requests, answers)


def serve(requests: IO[bytes], answers: IO[bytes]) -> None:
    """Reads the page of each frame in `requests`; the first names the engines."""
    engine: OcrEngine | None = None
    while True:
        try:
            request, pixels = read_frame(requests)
        except EOFError:
            return
        if engine is None:
            engine = open_worker_reader(unpack_engines(request["engines"]))
        write_frame(answers, _answer(engine, request, pixels))


def _answer(engine: OcrEngine, request: dict[str, Any], pixels: bytes) -> dict[str, Any]:
    from PIL import Image

    image = Image.frombytes("L", tuple(request["size"]), pixels)
    try:
        result = engine.read(
            image,
            languages=tuple(request["languages"]),
            dpi=float(request["dpi"]),
            timeout_s=float(request["timeout_s"]),
        )
    except DocatlasError as error:
        return pack_failure(error.problem)
    except Exception as error:  # the boundary: whatever an engine raises on a picture is that page's problem
        return pack_failure(
            Problem(
                "UnreadableDocument",
                "ocr_failed",
                f"The OCR engine gave up on the page ({type(error).__name__}). Upload it at another resolution.",
            )
        )
    return pack_result(result)


if __name__ == "__main__":
    main()
    sys.exit(0)
