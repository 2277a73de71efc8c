"""Starts a child for one file, reads its frames within limits, and always ends its whole process group."""

from __future__ import annotations

import json
import logging
import os
import select
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from services.content import Limits
from services.errors import DocatlasError, InternalError, Problem, TooLarge, UnreadableDocument, error_from
from services.extract.child import EXIT_MEMORY, EXIT_SIGNAL_BASE, memory_problem
from services.extract.wire import HEADER, MAX_FRAME_BYTES, frame, unpack_problem

_log = logging.getLogger(__name__)
_ROOT = Path(__file__).resolve().parents[2]

TICK_S = 0.25
"""How often a caller that waits for a child may look up, seconds."""
_PASSED_ON = ("PATH", "LANG", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "SYSTEMROOT")


def run_child(
    request: Mapping[str, Any],
    *,
    limits: Limits,
    folder: Path,
    tick: Callable[[], None] = lambda: None,
    module: str = "services.extract.child",
) -> Generator[dict[str, Any]]:
    """The child's messages, up to but without its `end`.

    `tick` is called a few times a second while the child is silent; what it raises ends the child. The wall clock
    counts only the time spent waiting for the child, not what the caller does between two messages. `module` is the
    program that the child runs.

    Raises the child's own problem as the error that it was, TooLarge (`parse_timeout`, `parse_cpu_limit`,
    `parse_memory_limit`) when a limit was passed, and UnreadableDocument (`parser_crashed`) when it died.
    """
    with tempfile.TemporaryFile() as noise:
        process = subprocess.Popen(
            [sys.executable, "-s", "-P", "-m", module],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=noise,
            cwd=folder,
            env=_environment(folder),
            start_new_session=True,
        )
        try:
            ended = False
            for message in _messages(process, request, limits, tick):
                if message.get("type") == "end":
                    ended = True
                elif message.get("type") == "problem":
                    _log.info("child: %s; %s", message.get("code"), _tail(noise))
                    raise error_from(unpack_problem(message))
                else:
                    yield message
            if not ended:
                raise _death(process, limits, _tail(noise))
        finally:
            _end(process)


def _environment(folder: Path) -> dict[str, str]:
    env = {name: os.environ[name] for name in _PASSED_ON if name in os.environ}
    env.update(
        PYTHONPATH=str(_ROOT),
        PYTHONDONTWRITEBYTECODE="1",
        PYTHONIOENCODING="utf-8",
        HOME=str(folder),
        TMPDIR=str(folder),
        OMP_THREAD_LIMIT="1",
        OMP_NUM_THREADS="1",
        OPENBLAS_NUM_THREADS="1",
        TOKENIZERS_PARALLELISM="false",
        MALLOC_ARENA_MAX="2",
    )
    return env


def _messages(
    process: subprocess.Popen[bytes], request: Mapping[str, Any], limits: Limits, tick: Callable[[], None]
) -> Iterator[dict[str, Any]]:
    assert process.stdin is not None
    assert process.stdout is not None
    with suppress(BrokenPipeError):  # the child died at once; its exit status tells why
        process.stdin.write(frame(dict(request)))
        process.stdin.flush()
    out, buffer, waited_s = process.stdout.fileno(), bytearray(), 0.0
    poller = select.poll()  # select() takes no descriptor from 1,024 up, which a busy server reaches
    poller.register(out, select.POLLIN)
    while True:
        while len(buffer) >= HEADER.size:
            (length,) = HEADER.unpack_from(buffer)
            if length > MAX_FRAME_BYTES:
                raise UnreadableDocument(
                    "Parsing this file produced more than a page may hold. Split the file.",
                    code="parser_output_invalid",
                )
            if len(buffer) < HEADER.size + length:
                break
            body = bytes(buffer[HEADER.size : HEADER.size + length])
            del buffer[: HEADER.size + length]
            yield _decode(body)
        start = time.monotonic()
        ready = poller.poll(1000 * TICK_S)
        waited_s += time.monotonic() - start
        if ready:
            data = os.read(out, 1 << 20)
            if not data:
                return
            buffer += data
        elif waited_s > limits.wall_s:
            raise TooLarge(
                f"Parsing this file took longer than {limits.wall_s:.0f} seconds and was stopped. "
                "Split the file, select `pages`, or raise DOCATLAS_PARSE_WALL_S.",
                code="parse_timeout",
            )
        tick()


def _decode(body: bytes) -> dict[str, Any]:
    try:
        message = json.loads(body)
    except ValueError as error:
        raise invalid_output() from error
    if not isinstance(message, dict):
        raise invalid_output()
    return message


def invalid_output() -> UnreadableDocument:
    """The error for a child that sent what it may not send."""
    return UnreadableDocument(
        "The parser of this file gave an answer that makes no sense; the file may be hostile. "
        "Save it again from the program that made it.",
        code="parser_output_invalid",
    )


def _death(process: subprocess.Popen[bytes], limits: Limits, noise: str) -> DocatlasError:
    """The error for a child that ended without saying why."""
    try:
        status = process.wait(timeout=5)
    except subprocess.TimeoutExpired:
        status = EXIT_SIGNAL_BASE
    _log.warning("a parsing child died with status %s: %s", status, noise)
    if status == EXIT_MEMORY or (status == EXIT_SIGNAL_BASE + signal.SIGABRT and "bad_alloc" in noise):
        return error_from(memory_problem(limits.memory_bytes))
    if status == EXIT_SIGNAL_BASE + signal.SIGXCPU:
        return TooLarge(
            f"Parsing this file took more than {limits.cpu_s:.0f} CPU seconds and was stopped. "
            "Split the file, or raise DOCATLAS_PARSE_CPU_S.",
            code="parse_cpu_limit",
        )
    if "No module named" in noise:
        return InternalError("The parsing process could not start: the installation is not complete.")
    return error_from(
        Problem(
            "UnreadableDocument",
            "parser_crashed",
            "The parser crashed on this file; it is probably damaged or hostile. "
            "Save it again from the program that made it.",
        )
    )


def _end(process: subprocess.Popen[bytes]) -> None:
    """Kills what is left of the group and waits, so that neither a process nor a zombie stays."""
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    for stream in (process.stdin, process.stdout):
        if stream is not None:
            with suppress(OSError):
                stream.close()
    process.wait()


def _tail(noise: Any) -> str:
    """The last of what the child printed as errors, for the log."""
    size = noise.seek(0, os.SEEK_END)
    noise.seek(max(0, size - 2000))
    return bytes(noise.read()).decode("utf-8", "replace").strip()
