"""Has a child answer one request, reads its frames within limits, and always ends its whole process group."""

from __future__ import annotations

import logging
import os
import select
import signal
import tempfile
import time
from collections.abc import Callable, Generator, Iterator, Mapping
from pathlib import Path
from typing import Any

from services.content import Limits
from services.errors import DocatlasError, InternalError, Problem, TooLarge, UnreadableDocument, error_from
from services.sandbox import namespaces, usage
from services.sandbox.child import EXIT_MEMORY
from services.sandbox.pool import Child, ChildPool, spawn
from services.sandbox.problems import memory_problem, output_problem
from services.sandbox.wire import HEADER, MALFORMED, MAX_FRAME_BYTES, decode, frame, pack_limits, unpack_problem

_log = logging.getLogger(__name__)

TICK_S = 0.25
"""How often a caller that waits for a child may look up, seconds."""


def run_child(
    request: Mapping[str, Any],
    *,
    limits: Limits,
    folder: Path,
    tick: Callable[[], None] = lambda: None,
    pool: ChildPool | None = None,
) -> Generator[dict[str, Any]]:
    """The child's messages, up to but without its `end`.

    `folder` is the only one that the child can write to. `tick` is called a few times a second while the child is
    silent; what it raises ends the child. The wall clock counts only the time spent waiting for the child, not what
    the caller does between two messages. Without a `pool` the child is started as a program of its own.

    Raises the child's own problem as the error that it was, TooLarge (`parse_timeout`, `parse_cpu_limit`,
    `parse_memory_limit`, `parse_output_limit`, `parse_process_limit`) when a limit was passed, and UnreadableDocument
    (`parser_crashed`, `parser_output_invalid`) when it died or sent what it may not send.
    """
    whole = {
        **request,
        "limits": pack_limits(limits),
        "private": str(folder),
        "guarded": [os.getpid()],
        "network": namespaces.own_network(),
        "hidden": [] if pool is None else [str(path) for path in pool.hidden],
    }
    with tempfile.TemporaryFile("a+b", dir=folder) as noise:  # appended to, so that the guard can cut it
        child = spawn("services.sandbox.child", folder, noise) if pool is None else pool.child(folder, noise)
        try:
            ended = False
            for message in _messages(child, whole, limits, tick):
                if message.get("type") == "end":
                    ended = True
                elif message.get("type") == "problem":
                    _log.info("child: %s; %s", message.get("code"), _tail(noise))
                    raise _told(message)
                else:
                    yield message
            if not ended:
                raise _death(child.verdict(), limits, _tail(noise))
        finally:
            child.end()
            _log.debug("child: at most %d bytes of memory", child.peak_bytes)


def _messages(
    child: Child, request: Mapping[str, Any], limits: Limits, tick: Callable[[], None]
) -> Iterator[dict[str, Any]]:
    child.send(frame(dict(request)))
    out, buffer, waited_s, received = child.stdout, bytearray(), 0.0, 0
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
            body = bytes(memoryview(buffer)[HEADER.size : HEADER.size + length])
            del buffer[: HEADER.size + length]
            yield _decode(body)
        start = time.monotonic()
        ready = poller.poll(1000 * min(TICK_S, max(0.01, limits.wall_s - waited_s)))
        waited_s += time.monotonic() - start
        if waited_s > limits.wall_s:
            raise TooLarge(
                f"Parsing this file took longer than {limits.wall_s:.0f} seconds and was stopped. "
                "Split the file, select `pages`, or raise DOCATLAS_PARSE_WALL_S.",
                code="parse_timeout",
            )
        if ready:
            data = os.read(out, 1 << 20)
            if not data:
                return
            buffer += data
            received += len(data)
            if received > limits.max_output_bytes:
                raise error_from(output_problem(limits.max_output_bytes))
        tick()


def _decode(body: bytes) -> dict[str, Any]:
    try:
        return decode(body)
    except (*MALFORMED, RecursionError) as error:
        raise invalid_output() from error


def _told(message: Mapping[str, Any]) -> DocatlasError:
    """The error for the problem that the child tells."""
    try:
        return error_from(unpack_problem(message))
    except MALFORMED as error:
        raise invalid_output() from error


def invalid_output() -> UnreadableDocument:
    """The error for a child that sent what it may not send."""
    return UnreadableDocument(
        "The parser of this file gave an answer that makes no sense; the file may be hostile. "
        "Save it again from the program that made it.",
        code="parser_output_invalid",
    )


def _death(verdict: str, limits: Limits, noise: str) -> DocatlasError:
    """The error for a child that ended without saying why; `verdict` is its guard's word."""
    _log.warning("a parsing child ended with %r: %s", verdict, noise)
    is_abort = verdict == f"signal {signal.SIGABRT:d}"
    if verdict in (usage.MEMORY, f"exit {EXIT_MEMORY}") or (is_abort and "bad_alloc" in noise):
        return error_from(memory_problem(limits.memory_bytes))
    if verdict in (usage.CPU, f"signal {signal.SIGXCPU:d}"):
        return TooLarge(
            f"Parsing this file took more than {limits.cpu_s:.0f} CPU seconds and was stopped. "
            "Split the file, or raise DOCATLAS_PARSE_CPU_S.",
            code="parse_cpu_limit",
        )
    if verdict in (usage.OUTPUT, f"signal {signal.SIGXFSZ:d}"):
        return error_from(output_problem(limits.max_output_bytes))
    if verdict == usage.PROCESSES:
        return TooLarge(
            f"Parsing this file started more than {limits.max_processes} processes and was stopped. "
            "The file is probably hostile.",
            code="parse_process_limit",
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


def _tail(noise: Any) -> str:
    """The last of what the child printed as errors, for the log."""
    size = noise.seek(0, os.SEEK_END)
    noise.seek(max(0, size - 2000))
    return bytes(noise.read()).decode("utf-8", "replace").strip()
