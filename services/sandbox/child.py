"""The process that opens one untrusted file, forked by a template or started by itself: in truth two, or three.

The guard leads the group and watches: it ends the worker and all that the worker started when a limit is passed, when
the worker ends, or when the server is gone, and it says why on its status pipe. Where a namespace of processes can be
had, a third one leads it, whose end is the end of all in it. The worker lays limits on itself,
confines itself, and sends frames to the pipe that was its standard output; prints of libraries go nowhere.

`python -m services.sandbox.child` reads one request from standard input, writes frames to standard output, errors to
standard error, and its status to the descriptor that `--status` names. Started by services.sandbox.supervisor only.

The imports at the top stay few: where nothing is forked, the start of this process is what a small file costs most.
"""

from __future__ import annotations

import json
import os
import select
import signal
import struct
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import IO, Any, NoReturn

from services.sandbox import namespaces
from services.sandbox.libreoffice_pipes import is_converted, remove_dead_pipes
from services.sandbox.usage import EVERY_S, Watch, descendants

Serve = Callable[[Mapping[str, Any], IO[bytes]], None]
"""Answers one request with frames on a stream."""

HEADER = struct.Struct(">I")
"""Length of a frame, as in services.sandbox.wire."""

TOGETHER = "--no-namespaces"
"""Argument with which a child uses no namespace, as on a system that permits none."""

EXIT_MEMORY = 97
"""The worker's exit status when Python ran out of memory, even for reporting it."""

_LEADER = 1
"""The number of the first process in a namespace of processes."""
_NOISE_BYTES = 1 << 22
"""Bytes of printed errors that are kept on disk."""
_END_S = 2.0
"""Seconds that the guard tries to end each process by itself before it kills its group with itself in it."""


def main(serve: Serve) -> NoReturn:
    """Becomes a guard with a worker of its own, outside the network where that is permitted."""
    status = int(sys.argv[sys.argv.index("--status") + 1])
    os.set_inheritable(status, False)
    uses_namespaces = TOGETHER not in sys.argv
    if uses_namespaces:
        namespaces.leave_network()
    run_guarded(serve, status, uses_namespaces)


def serve(request: Mapping[str, Any], out: IO[bytes]) -> None:
    """Answers a request for a document or a page of it; see services.sandbox.task."""
    from services.sandbox import task

    task.serve(request, out)


def run_guarded(serve: Serve, status: int, uses_namespaces: bool) -> NoReturn:
    """Reads the request from standard input, forks the worker that answers it, and becomes its guard.

    The process leads its group and has one thread; `status` is the descriptor for what becomes of it. Where a namespace
    of processes can be had, the worker's parent is a process in between, which leads the namespace.
    """
    namespaces.adopt_orphans()
    _say(status, f"pid {os.getpid()}")
    with os.fdopen(os.dup(0), "rb", buffering=0) as source:
        try:
            (length,) = HEADER.unpack(_read_exactly(source, HEADER.size))
            request: dict[str, Any] = json.loads(_read_exactly(source, length))
        except EOFError:
            os._exit(0)  # the server is gone or has changed its mind
    alive_read, alive_write = os.pipe()
    guard = os.getpid()
    has_leader = uses_namespaces and namespaces.separate_processes()
    # Inside a namespace nobody else has a number.
    guarded = [_LEADER] if has_leader else [*request["guarded"], guard, os.getppid()]
    request |= {"guarded": guarded, "namespaces": uses_namespaces, "leads_processes": has_leader}
    pid = os.fork()
    if pid == 0:
        try:
            namespaces.end_with_parent(signal.SIGKILL)
            os.close(alive_read)
            if _has_reader(alive_write):
                os.close(status)
                if has_leader:
                    _lead_until_worker_ends(alive_write)
                _work(serve, request)
        finally:
            os._exit(70)
    os.close(alive_write)
    os.close(1)
    leftovers = remove_dead_pipes if is_converted(request) else _nothing
    watch = Watch(guard, request["private"], request["limits"], own_processes=int(has_leader))
    _guard(pid, alive_read, status, watch, leftovers)


def _has_reader(pipe: int) -> bool:
    """Whether the guard lives, which alone reads from `pipe`; its number says nothing in another namespace."""
    poll = select.poll()
    poll.register(pipe, 0)
    return not any(event & select.POLLERR for _, event in poll.poll(0))


def _lead_until_worker_ends(alive: int) -> None:
    """Forks the worker, and returns in it; this process reaps, and tells the guard on `alive` how the worker ended.

    The first process of a namespace survives the signals by which a process ends itself, so the worker is the second.
    """
    worker = os.fork()
    if worker == 0:
        os.close(alive)
        return
    namespaces.hide_memory()
    namespaces.drop_capabilities()
    os.close(1)
    while True:
        ended, state = os.wait()
        if ended == worker:
            with suppress(OSError):
                os.write(alive, str(state).encode())
            os._exit(0)


def _nothing() -> None:
    """What most formats leave outside of their folder."""


def _say(status: int, line: str) -> None:
    with suppress(OSError):  # the server is gone; the guard notices by itself
        os.write(status, f"{line}\n".encode())


def _guard(worker: int, alive: int, status: int, watch: Watch, remove_leftovers: Callable[[], None]) -> NoReturn:
    """Waits for the worker's end, the server's, or a limit's; then ends what is left, says why, and exits."""
    poll = select.poll()
    poll.register(alive, 0)
    poll.register(0, 0)
    while True:
        gone = {fd for fd, event in poll.poll(1000 * EVERY_S) if event & (select.POLLHUP | select.POLLERR)}
        ended, state = os.waitpid(worker, 0 if alive in gone else os.WNOHANG)
        if ended:
            state = int(os.read(alive, 16) or state)  # the worker's own, where another process leads its namespace
            verdict = f"signal {os.WTERMSIG(state)}" if os.WIFSIGNALED(state) else f"exit {os.WEXITSTATUS(state)}"
        elif 0 in gone:
            verdict = "abandoned"
        else:
            verdict = watch.violation() or ""
        if verdict:
            break
        with suppress(OSError):
            if os.fstat(2).st_size > _NOISE_BYTES:
                os.ftruncate(2, 0)
    is_clean = _end_descendants()
    remove_leftovers()
    _say(status, f"peak {watch.peak_bytes}\nverdict {verdict}")
    if not is_clean:
        os.killpg(0, signal.SIGKILL)
    os._exit(0)


def _end_descendants() -> bool:
    """Kills and reaps everything below this process, also what has left its group; False where something stays."""
    deadline = time.monotonic() + _END_S
    while time.monotonic() < deadline:
        for pid in descendants(os.getpid()):
            with suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
        try:
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        except ChildProcessError:
            return True
        time.sleep(0.002)
    return False


def _work(serve: Serve, request: Mapping[str, Any]) -> None:
    out = os.fdopen(os.dup(1), "wb", buffering=1 << 16)
    null = os.open(os.devnull, os.O_RDWR)
    os.dup2(null, 0)
    os.dup2(null, 1)
    try:
        serve(request, out)
        out.flush()
    except MemoryError:
        os._exit(EXIT_MEMORY)
    except BrokenPipeError:
        pass
    os._exit(0)


def _read_exactly(source: IO[bytes], count: int) -> bytes:
    parts: list[bytes] = []
    while count:
        part = source.read(count)
        if not part:
            raise EOFError("the request ended early")
        parts.append(part)
        count -= len(part)
    return b"".join(parts)


if __name__ == "__main__":
    main(serve)
