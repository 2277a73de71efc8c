"""The process that opens one untrusted file: `python -m services.extract.child`, started by the supervisor only.

It is two processes. The guard (the group's leader) imports nothing and only waits: when the server is gone, it kills
the whole group, whatever the worker is busy with. The worker reads one request from standard input, lays limits on
itself, and sends frames to the pipe that was its standard output; prints of libraries go nowhere.

The imports at the top stay few: an ingest of a small text file is dominated by the start of this process.
"""

from __future__ import annotations

import os
import select
import signal
import sys
from typing import IO, TYPE_CHECKING, Any, NoReturn

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from services.content import Limits, Part

EXIT_MEMORY = 97
"""The worker's exit status when Python ran out of memory, even for reporting it."""
EXIT_SIGNAL_BASE = 128
"""The guard's exit status is this plus the signal that ended the worker."""


def main(serve: Callable[[Mapping[str, Any], IO[bytes]], None] | None = None) -> NoReturn:
    """Becomes the guard and its worker, which hands the one request to `serve` with the stream for its frames."""
    alive_read, alive_write = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(alive_read)
        _work(serve or _serve)
        os._exit(0)
    os.close(alive_write)
    os.close(1)
    _guard(pid, alive_read)


def _guard(worker: int, alive: int) -> NoReturn:
    """Ends when the worker ends, with its status; kills the group when the server's end of standard input closes."""
    poll = select.poll()
    poll.register(alive, 0)
    poll.register(0, 0)
    while True:
        gone = {fd for fd, event in poll.poll() if event & (select.POLLHUP | select.POLLERR | select.POLLNVAL)}
        if 0 in gone:
            os.killpg(os.getpgrp(), signal.SIGKILL)
        if alive in gone:
            _, status = os.waitpid(worker, 0)
            os._exit(EXIT_SIGNAL_BASE + os.WTERMSIG(status) if os.WIFSIGNALED(status) else os.WEXITSTATUS(status))


def _work(serve: Callable[[Mapping[str, Any], IO[bytes]], None]) -> None:
    out = os.fdopen(os.dup(1), "wb", buffering=1 << 16)
    null = os.open(os.devnull, os.O_RDWR)
    os.dup2(null, 1)
    try:
        serve(_read_request(), out)
        out.flush()
    except MemoryError:
        os._exit(EXIT_MEMORY)


def _read_request() -> dict[str, Any]:
    import json

    from services.extract.wire import HEADER

    with os.fdopen(os.dup(0), "rb", buffering=0) as source:
        (length,) = HEADER.unpack(_read_exactly(source, HEADER.size))
        request: dict[str, Any] = json.loads(_read_exactly(source, length))
    return request


def _read_exactly(source: IO[bytes], count: int) -> bytes:
    parts: list[bytes] = []
    while count:
        part = source.read(count)
        if not part:
            raise EOFError("the request ended early")
        parts.append(part)
        count -= len(part)
    return b"".join(parts)


def lay_limits(limits: Limits) -> None:
    """Limits this process's memory, CPU time, file sizes and open files, as far as the system lets it."""
    import resource

    cpu_s = max(1, int(limits.cpu_s))
    wanted = {
        resource.RLIMIT_AS: (limits.memory_bytes, limits.memory_bytes),
        resource.RLIMIT_CPU: (cpu_s, cpu_s + 5),  # at the first SIGXCPU, which says why; at the second SIGKILL
        resource.RLIMIT_FSIZE: (4 * limits.max_unpacked_bytes,) * 2,
        resource.RLIMIT_NOFILE: (512, 512),
        resource.RLIMIT_CORE: (0, 0),
    }
    for kind, (soft, hard) in wanted.items():
        _, bound = resource.getrlimit(kind)
        if bound != resource.RLIM_INFINITY:
            soft, hard = min(soft, bound), min(hard, bound)
        try:
            resource.setrlimit(kind, (soft, hard))
        except (ValueError, OSError):
            # macOS knows RLIMIT_AS and refuses to set it; wall clock and CPU time still bound the child there.
            continue


def _serve(request: Mapping[str, Any], out: IO[bytes]) -> None:
    from services.errors import DocatlasError, Problem
    from services.extract.wire import frame, pack_part, pack_problem, unpack_limits

    limits = unpack_limits(request["limits"])
    lay_limits(limits)

    def send(message: dict[str, Any]) -> None:
        out.write(frame(message))
        out.flush()

    try:
        if request["task"] == "render":
            send(_render(request, limits))
        else:
            for part in _extract(request, limits, lambda p: send(pack_part(p))):
                send(pack_part(part))
        send({"type": "end"})
    except DocatlasError as error:
        send(pack_problem(error.problem))
    except MemoryError:
        send(pack_problem(memory_problem(limits.memory_bytes)))
    except RecursionError:
        send(
            pack_problem(
                Problem(
                    "UnreadableDocument",
                    "nested_too_deep",
                    "The file nests its parts too deep to be read. Save it again from the program that made it.",
                )
            )
        )
    except Exception as error:  # the boundary: whatever a parser raises on a hostile file is that file's problem
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        send(
            pack_problem(
                Problem(
                    "UnreadableDocument",
                    "parser_failed",
                    "The file could not be parsed; it is probably damaged. "
                    "Save it again from the program that made it.",
                )
            )
        )


def memory_problem(memory_bytes: int) -> Any:
    """The problem of a file whose parsing asked for more memory than it may."""
    from services.errors import Problem

    return Problem(
        "TooLarge",
        "parse_memory_limit",
        f"Parsing this file took more than {memory_bytes // 1024**2} MB of memory. "
        "Split the file, or raise DOCATLAS_PARSE_MEMORY_BYTES.",
    )


def _extract(request: Mapping[str, Any], limits: Limits, report: Callable[[Any], None]) -> Any:
    """Yields the parts of the document and, behind each page, the chunks that are complete by then."""
    from pathlib import Path

    from services.chunking import Chunker
    from services.content import DocumentInfo, Page
    from services.extract.known_pages import KnownPages
    from services.extract.ocr_choice import open_engine
    from services.extract.wire import unpack_format, unpack_options, unpack_upload
    from services.formats import EXTRACTORS, ExtractContext

    upload, options = unpack_upload(request["upload"]), unpack_options(request["options"])
    context = ExtractContext(
        options=options,
        password=request["password"],
        folder=Path(request["folder"]),
        limits=limits,
        ocr=open_engine(request["ocr"]),
        known_pages=KnownPages(request["known_pages"]),
        known_pictures=frozenset(request["known_pictures"]),
    )
    chunker: Chunker | None = None
    title = ""
    parts: Any = EXTRACTORS[unpack_format(request["format"])](upload, context)
    part: Part
    for part in parts:
        if isinstance(part, DocumentInfo):
            title = part.title
        yield part
        if isinstance(part, Page) and request["chunk"]:
            if chunker is None:
                chunker = Chunker(
                    options,
                    max_tokens=request["max_tokens"],
                    count_tokens=token_counter(request["tokenizer"]),
                    title=title,
                )
            yield from chunker.feed(part)
    if chunker is not None:
        yield from chunker.finish()


def token_counter(tokenizer: str | None) -> Callable[[str], int]:
    """A function that counts the model's tokens in a text, with the two that frame it; without a file, words."""
    if tokenizer is None:
        return lambda text: len(text.split())
    from tokenizers import Tokenizer

    model = Tokenizer.from_file(tokenizer)
    model.no_truncation()
    model.no_padding()
    return lambda text: len(model.encode(text).ids)


def _render(request: Mapping[str, Any], limits: Limits) -> dict[str, Any]:
    from pathlib import Path

    from services.extract.wire import unpack_format, unpack_upload
    from services.formats.rendering import render_page

    upload = unpack_upload(request["upload"])
    data, media_type = render_page(
        upload.path,
        unpack_format(request["format"]),
        int(request["page"]),
        int(request["width"]),
        password=request["password"],
        limits=limits,
    )
    path = Path(request["folder"]) / "page"
    path.write_bytes(data)
    return {"type": "rendered", "path": path.name, "media_type": media_type}


if __name__ == "__main__":
    main()
