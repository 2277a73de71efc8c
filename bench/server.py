"""A real `docatlas serve` process on a data folder of its own, and what it costs while it works."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import psutil

ROOT = Path(__file__).resolve().parent.parent
TERMINAL = ("completed", "completed_with_errors", "failed", "cancelled")


class BenchError(Exception):
    """The server did something that makes the measurement worthless; the text says what."""


def end_in_order() -> None:
    """Makes SIGTERM an exit like any other, so that servers are stopped and folders removed."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))


def free_port() -> int:
    """A TCP port of loopback that nobody listened on a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass(slots=True)
class Server:
    """A running server. `ready_s`: seconds from exec to the first 200 of /readyz."""

    process: subprocess.Popen[bytes]
    url: str
    log: Path
    started: float
    ready_s: float = 0.0

    def is_running(self) -> bool:
        return self.process.poll() is None

    def wait_for(self, path: str, *, timeout_s: float = 300.0) -> None:
        """Returns at the first 200 of `path`. Raises BenchError when the process ends or the time is up."""
        deadline = time.monotonic() + timeout_s
        with httpx.Client(base_url=self.url, timeout=5.0, trust_env=False) as client:
            while True:
                if not self.is_running():
                    raise BenchError(f"the server ended with {self.process.returncode}; its log is {self.log}")
                if time.monotonic() > deadline:
                    raise BenchError(f"{path} was not 200 within {timeout_s:.0f} s; the log is {self.log}")
                try:
                    if client.get(path).status_code == 200:
                        return
                except httpx.TransportError:
                    pass  # not listening yet
                time.sleep(0.02)

    def children(self) -> list[psutil.Process]:
        """Every live descendant."""
        try:
            return list(psutil.Process(self.process.pid).children(recursive=True))
        except psutil.NoSuchProcess:
            return []

    def kill(self) -> None:
        """SIGKILL to the server process alone, as a crash would be; its children are not told."""
        self.process.send_signal(signal.SIGKILL)
        self.process.wait(timeout=30)

    def stop(self) -> None:
        """Asks it to end; kills it after 30 seconds."""
        if self.is_running():
            self.process.terminate()
        try:
            self.process.wait(timeout=30)
        except subprocess.TimeoutExpired:
            self.kill()


def start(data_dir: Path, *, env: Mapping[str, str] | None = None, port: int | None = None) -> Server:
    """A server started and not waited for. Its output goes to `server.log` beside the data folder."""
    port = port or free_port()
    data_dir.mkdir(parents=True, exist_ok=True)
    log = data_dir.parent / f"{data_dir.name}.log"
    command = [sys.executable, "-m", "cli", "serve", "--port", str(port), "--data-dir", str(data_dir)]
    with log.open("ab") as out:
        started = time.monotonic()
        process = subprocess.Popen(
            command, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=out, stderr=out, env={**os.environ, **(env or {})}
        )
    return Server(process, f"http://127.0.0.1:{port}", log, started)


@contextmanager
def serving(data_dir: Path, *, env: Mapping[str, str] | None = None) -> Iterator[Server]:
    """A ready server for the length of the block."""
    server = start(data_dir, env=env)
    try:
        server.wait_for("/readyz")
        server.ready_s = time.monotonic() - server.started
        yield server
    finally:
        server.stop()


def connect(server: Server, *, timeout_s: float = 120.0) -> httpx.Client:
    """A client of `server`; the caller closes it."""
    return httpx.Client(base_url=server.url, timeout=timeout_s, trust_env=False)


def upload(client: httpx.Client, path: Path, *, options: Mapping[str, Any] | None = None) -> Mapping[str, Any]:
    """The one entry of the answer for `path`. Raises BenchError when it was not taken."""
    import json

    with path.open("rb") as stream:
        answer = client.post(
            "/v1/documents",
            files={"files": (path.name, stream, "application/octet-stream")},
            data={"options": json.dumps(dict(options or {}))},
        )
    if answer.status_code != 202:
        raise BenchError(f"{path.name}: {answer.status_code} {answer.text[:300]}")
    entry: Mapping[str, Any] = answer.json()["data"][0]
    if entry["outcome"] == "rejected":
        raise BenchError(f"{path.name}: {entry['error']}")
    return entry


def wait_for_job(client: httpx.Client, job_id: str, *, timeout_s: float = 3600.0) -> Mapping[str, Any]:
    """The job once it is at an end, by long poll."""
    deadline = time.monotonic() + timeout_s
    while True:
        answer = client.get(f"/v1/jobs/{job_id}", params={"wait": 30})
        answer.raise_for_status()
        job: Mapping[str, Any] = answer.json()
        if job["status"] in TERMINAL:
            return job
        if time.monotonic() > deadline:
            raise BenchError(f"job {job_id} is {job['status']} after {timeout_s:.0f} s")


@dataclass(frozen=True, slots=True)
class Cost:
    """What a stretch of work took. `peak_bytes` is the largest sum of PSS of the server and its descendants."""

    wall_s: float
    cpu_s: float
    peak_bytes: int
    samples: int


def pss_bytes(pid: int) -> int:
    """Proportional set size of one process; 0 when it is gone. Source: proc(5), smaps_rollup."""
    try:
        text = Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii")
    except (FileNotFoundError, ProcessLookupError, PermissionError):
        return 0
    for line in text.splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) * 1024
    return 0


class Meter:
    """Samples a process and its descendants ten times a second, from entering to leaving the block."""

    def __init__(self, pid: int, *, interval_s: float = 0.1) -> None:
        self._root = psutil.Process(pid)
        self._interval_s = interval_s
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._sample, name="meter", daemon=True)
        self._peak = 0
        self._samples = 0
        self._cpu: dict[tuple[int, float], float] = {}
        self._base: dict[tuple[int, float], float] = {}
        self._started = 0.0
        self._wall_s = 0.0

    def __enter__(self) -> Meter:
        self._look()
        self._base = dict(self._cpu)
        self._peak = self._samples = 0
        self._started = time.monotonic()
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()
        self._look()
        self._wall_s = time.monotonic() - self._started

    @property
    def cost(self) -> Cost:
        """Of the finished block. CPU seconds of a child are those of its last sample, so up to 0.1 s short each."""
        cpu_s = sum(used - self._base.get(key, 0.0) for key, used in self._cpu.items())
        return Cost(self._wall_s, cpu_s, self._peak, self._samples)

    def _sample(self) -> None:
        due = time.monotonic()
        while not self._stop.is_set():
            self._look()
            due = max(due + self._interval_s, time.monotonic())
            self._stop.wait(max(0.0, due - time.monotonic()))

    def _look(self) -> None:
        total = 0
        try:
            processes: Sequence[psutil.Process] = [self._root, *self._root.children(recursive=True)]
        except psutil.NoSuchProcess:
            return
        for process in processes:
            total += pss_bytes(process.pid)
            try:
                times = process.cpu_times()
                self._cpu[(process.pid, process.create_time())] = times.user + times.system
            except (psutil.NoSuchProcess, psutil.AccessDenied):
                continue
        self._peak = max(self._peak, total)
        self._samples += 1
