"""Children for the supervisor: forked by a warm template where the system allows it, started one by one elsewhere.

A template takes a second to load the parsers and a few milliseconds to fork, so it pays from the second document on.
Until it is ready, and whenever it is lost, children are started by themselves: nobody waits for a template.
"""

from __future__ import annotations

import json
import logging
import os
import select
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO, Literal

from services.sandbox.child import TOGETHER
from services.sandbox.template import READY

_log = logging.getLogger(__name__)
_ROOT = Path(__file__).resolve().parents[2]

RECYCLE_AFTER_DOCUMENTS = 500
RECYCLE_AFTER_S = 1800.0
"""A template is replaced after so many documents or seconds. Source: none of a document's memory is the template's, so
this only bounds how long one layout of memory and one hash seed are in use; loading a new one takes a second of CPU."""

_FORK_S = 10.0
"""Seconds until a template that does not fork is given up."""
_RETRY_S = 60.0
"""Seconds until a template is tried again that did not become ready."""
_END_S = 5.0
_PASSED_ON = ("PATH", "LANG", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "SYSTEMROOT")


class Child:
    """A guard and its worker, seen from the server. Not thread-safe; `end` it in any case."""

    def __init__(self, stdin: int, stdout: int, status: int, pid: int, process: subprocess.Popen[bytes] | None) -> None:
        self._stdin: int | None = stdin
        self.stdout = stdout
        self._status = status
        self._pid = pid
        self._process = process
        self._said = b""

    def send(self, data: bytes) -> None:
        """Hands the request over. A child that died at once is no error here: its verdict tells why."""
        assert self._stdin is not None
        view = memoryview(data)
        with suppress(BrokenPipeError):
            while view:
                view = view[os.write(self._stdin, view) :]

    def verdict(self) -> str:
        """What became of a child that has closed its output: a limit's word, `exit N`, `signal N`; empty if unknown."""
        self._read_status(_END_S)
        return self._word("verdict")

    @property
    def peak_bytes(self) -> int:
        """The most resident memory that the guard saw, once the child has ended; 0 if it did not say."""
        return int(self._word("peak") or 0)

    def end(self) -> None:
        """Ends the child with all that it started, and waits for it. Returns with nothing of it running."""
        if self._stdin is None:
            return
        os.close(self._stdin)  # the guard takes this for the order to end everything
        self._stdin = None
        os.close(self.stdout)
        if not self._read_status(_END_S):
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(self._pid, signal.SIGKILL)
            self._read_status(_END_S)
        os.close(self._status)
        if self._process is not None:
            self._process.wait()

    def _word(self, name: str) -> str:
        lines = (line.partition(" ") for line in self._said.decode("ascii", "replace").splitlines())
        return next((value for key, _, value in lines if key == name), "")

    def _read_status(self, timeout_s: float) -> bool:
        """True once the guard has ended, which closes its end of the pipe."""
        deadline = time.monotonic() + timeout_s
        while (left_s := deadline - time.monotonic()) > 0:
            if _is_readable(self._status, left_s):
                data = os.read(self._status, 4096)
                if not data:
                    return True
                self._said += data
        return False


def _is_readable(descriptor: int, timeout_s: float) -> bool:
    poller = select.poll()  # select() takes no descriptor from 1,024 up, which a busy server reaches
    poller.register(descriptor, select.POLLIN)
    return bool(poller.poll(1000 * timeout_s))


class _Template:
    """A process that forks children, and the socket to it."""

    def __init__(self, module: str, tokenizer: Path | None, arguments: Sequence[str]) -> None:
        self._socket, theirs = socket.socketpair()
        command = [sys.executable, "-s", "-P", "-m", "services.sandbox.template", module, *arguments]
        with theirs:
            self._process = subprocess.Popen(
                [*command, *([] if tokenizer is None else [str(tokenizer)])],
                stdin=theirs.fileno(),
                stdout=subprocess.DEVNULL,
                cwd="/",
                env=_environment(Path("/")),
                start_new_session=True,
            )
        self._lock = threading.Lock()
        self._born = time.monotonic()
        self._forked = 0

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def is_old(self) -> bool:
        """Whether it is time for another one."""
        return self._forked >= RECYCLE_AFTER_DOCUMENTS or time.monotonic() - self._born >= RECYCLE_AFTER_S

    def wait_ready(self, timeout_s: float) -> bool | None:
        """True once it can fork, False when it never will, None while that is open. To be called until it is told."""
        if not _is_readable(self._socket.fileno(), timeout_s):
            return None
        try:
            return bytes(self._socket.recv(1)) == READY
        except OSError:
            return False

    def fork(self, folder: Path, noise: IO[bytes]) -> Child | None:
        """A child in `folder` that prints its errors to `noise`; None when the template is lost."""
        stdin_read, stdin_write = os.pipe()
        stdout_read, stdout_write = os.pipe()
        status_read, status_write = os.pipe()
        theirs = [stdin_read, stdout_write, noise.fileno(), status_write]
        child = None
        try:
            with self._lock:
                self._forked += 1
                socket.send_fds(self._socket, [json.dumps({"folder": str(folder)}).encode()], theirs)
        except OSError:
            _log.warning("the template of the parsing processes has ended")
        else:
            os.close(status_write)
            theirs.remove(status_write)
            if (pid := _pid_from(status_read)) is not None:
                child = Child(stdin_write, stdout_read, status_read, pid, None)
        for descriptor in theirs:
            if descriptor != noise.fileno():
                os.close(descriptor)
        if child is None:
            for descriptor in (stdin_write, stdout_read, status_read):
                os.close(descriptor)
        return child

    def close(self) -> None:
        """Lets it end; children that run go on, with their guards."""
        self._socket.close()
        try:
            self._process.wait(timeout=_END_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


def _pid_from(status: int) -> int | None:
    """The guard's first words; None when it was never forked."""
    said = b""
    while not said.endswith(b"\n"):
        if not _is_readable(status, _FORK_S):
            return None
        data = os.read(status, 64)
        if not data:
            return None
        said += data
    return int(said.split()[1])


class ChildPool:
    """Gives out children that run `module`, one for each document. Thread-safe; close it at the end.

    `tokenizer` is loaded by the template beforehand. `start` is `fork` for children of a template, `spawn` for
    processes of their own, `auto` for what the system is good for: forking is safe on Linux only. In the folders
    `hidden` a child reads nothing but what it is given by name, wherever they lie. Without `namespaces` it is confined
    as on a system that permits none.
    """

    def __init__(
        self,
        *,
        module: str = "services.sandbox.child",
        tokenizer: Path | None = None,
        start: Literal["auto", "fork", "spawn"] = "auto",
        hidden: Iterable[Path] = (),
        namespaces: bool = True,
    ) -> None:
        self.hidden = tuple(hidden)
        self._arguments = () if namespaces else (TOGETHER,)
        self._module = module
        self._tokenizer = tokenizer
        self._forks = start == "fork" or (start == "auto" and sys.platform == "linux")
        self._lock = threading.Lock()
        self._template: _Template | None = None
        self._coming: _Template | None = None
        self._retry_at = 0.0
        self._asked = 0
        self._is_closed = False

    @property
    def template_pid(self) -> int | None:
        """The process that forks at this moment; None while there is none that is ready."""
        with self._lock:
            return None if self._template is None else self._template.pid

    @property
    def template_pids(self) -> frozenset[int]:
        """The process that forks and the one that is to replace it, as far as there are any."""
        with self._lock:
            return frozenset(template.pid for template in (self._template, self._coming) if template is not None)

    def warm_up(self, wait_s: float = 0.0) -> bool:
        """Begins to load a template, and waits so long for it; True when children are forked from now on."""
        deadline = time.monotonic() + wait_s
        while True:
            with self._lock:
                if not self._forks or self._is_closed:
                    return False
                self._begin()
                self._receive()
                if self._template is not None:
                    return True
            if time.monotonic() >= deadline:
                return False
            time.sleep(0.02)

    def child(self, folder: Path, noise: IO[bytes]) -> Child:
        """A child of its own for one document. It works in `folder` and prints its errors to `noise`."""
        with self._lock:
            self._asked += 1
            if self._asked > 1:
                self._begin()
            self._receive()
            template = self._template
        if template is not None:
            child = template.fork(folder, noise)
            if child is not None:
                return child
            self._lose(template)
        return spawn(self._module, folder, noise, self._arguments)

    def close(self) -> None:
        """Ends the template. Children under way belong to their callers."""
        with self._lock:
            self._is_closed = True
            templates = [self._template, self._coming]
            self._template = self._coming = None
        for template in templates:
            if template is not None:
                template.close()

    def _begin(self) -> None:
        """Starts to load a template where there is none, or where the one in use is old. Under the lock."""
        is_wanted = self._template is None or self._template.is_old
        if not self._forks or self._is_closed or self._coming is not None or not is_wanted:
            return
        if time.monotonic() >= self._retry_at:
            self._coming = _Template(self._module, self._tokenizer, self._arguments)

    def _receive(self) -> None:
        """Takes the template that was being loaded into use once it is ready. Under the lock."""
        if self._coming is None:
            return
        is_ready = self._coming.wait_ready(0)
        if is_ready is None:
            return
        if is_ready:
            old, self._template = self._template, self._coming
        else:
            _log.warning("no template for parsing processes; each is started by itself")
            old, self._retry_at = self._coming, time.monotonic() + _RETRY_S
        self._coming = None
        if old is not None:
            threading.Thread(target=old.close, name="template-close").start()

    def _lose(self, template: _Template) -> None:
        with self._lock:
            if self._template is not template:
                return
            self._template = None
        template.close()


def spawn(module: str, folder: Path, noise: IO[bytes], arguments: Sequence[str] = ()) -> Child:
    """A child that is started as a program of its own."""
    status_read, status_write = os.pipe()
    try:
        process = subprocess.Popen(
            [sys.executable, "-s", "-P", "-m", module, "--status", str(status_write), *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=noise,
            cwd=folder,
            env=_environment(folder),
            pass_fds=[status_write],
            start_new_session=True,
        )
    except OSError:
        os.close(status_read)
        raise
    finally:
        os.close(status_write)
    assert process.stdin is not None
    assert process.stdout is not None
    stdin, stdout = os.dup(process.stdin.fileno()), os.dup(process.stdout.fileno())
    process.stdin.close()
    process.stdout.close()
    return Child(stdin, stdout, status_read, process.pid, process)


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
