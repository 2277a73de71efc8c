"""A real Postgres of one's own, and the four ways in which it can fail."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

import psutil
import psycopg

from database.postgres.embedded import FAST, EmbeddedPostgres
from database.postgres.migrations import upgrade

Fault = Literal["stopped", "paused", "killed", "disk full"]
FAULTS: tuple[Fault, ...] = ("stopped", "paused", "killed", "disk full")

DISK_BYTES = 512 * 1024**2
"""Of the small disk: twice what an empty server with its log of changes takes."""
# A commit that was acknowledged has to survive SIGKILL; nothing here has to survive the machine.
_SETTINGS = {**FAST, "synchronous_commit": "on", "wal_recycle": "off", "max_wal_size": "64MB", "min_wal_size": "32MB"}


class FaultyPostgres:
    """A migrated server that can be taken away and given back. Not thread-safe."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._embedded = EmbeddedPostgres(folder, settings=_SETTINGS, sync=False)
        self._paused: list[psutil.Process] = []
        self._ballast = folder / "ballast"
        self._embedded.start()
        upgrade(self._embedded.admin_url, server_url=self._embedded.server_url)

    @property
    def admin_url(self) -> str:
        """Of a role that passes row level security."""
        return self._embedded.admin_url

    @property
    def server_url(self) -> str:
        return self._embedded.server_url

    def fail(self, fault: Fault) -> None:
        """Takes the server away, at once."""
        if fault == "disk full":
            self._fill()
            return
        processes = self._processes()
        if fault == "stopped":
            processes[0].send_signal(signal.SIGINT)  # "fast": transactions are cut, what is committed is written
            psutil.wait_procs(processes, timeout=60)
            return
        # The postmaster last: it would otherwise clear up behind its children.
        for process in reversed(processes):
            with contextlib.suppress(psutil.NoSuchProcess):
                process.send_signal(signal.SIGSTOP if fault == "paused" else signal.SIGKILL)
        if fault == "paused":
            self._paused = processes
        else:
            psutil.wait_procs(processes, timeout=60)

    def mend(self) -> None:
        """Gives it back, whatever was done to it; returns when it takes connections."""
        self._ballast.unlink(missing_ok=True)
        for process in self._paused:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.send_signal(signal.SIGCONT)
        self._paused = []
        self._embedded.start()
        deadline = time.monotonic() + 60
        while True:
            try:
                psycopg.connect(self.admin_url, connect_timeout=5).close()
                return
            except psycopg.OperationalError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.1)

    def close(self) -> None:
        self.mend()
        self._embedded.stop()

    def _processes(self) -> list[psutil.Process]:
        """The postmaster and its children."""
        pid = self._embedded.pid
        if pid is None:
            raise RuntimeError("the server does not run")
        postmaster = psutil.Process(pid)
        return [postmaster, *postmaster.children(recursive=True)]

    def _fill(self) -> None:
        piece = b"\0" * 65536
        with self._ballast.open("wb", buffering=0) as ballast, contextlib.suppress(OSError):
            while ballast.write(piece) == len(piece):
                pass
        with self._ballast.open("ab", buffering=0) as ballast, contextlib.suppress(OSError):
            while ballast.write(b"\0" * 512):
                pass


@contextmanager
def faulty_postgres(fault: Fault) -> Iterator[FaultyPostgres]:
    """A server for one fault; the folder, or the small disk, is gone afterwards."""
    folder = Path(tempfile.mkdtemp(prefix="docatlas-faults-"))
    try:
        with small_disk(folder) if fault == "disk full" else contextlib.nullcontext(folder) as place:
            server = FaultyPostgres(place)
            try:
                yield server
            finally:
                server.close()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def small_disk(folder: Path) -> Iterator[Path]:
    """A folder on a file system of `DISK_BYTES`. Raises RuntimeError where the system lets nobody have one."""
    options = ["-t", "tmpfs", "-o", f"size={DISK_BYTES},mode=755", "docatlas-small-disk"]
    for command in (["mount"], ["sudo", "-n", "mount"]) if os.geteuid() else (["mount"],):
        mine = [*options[:3], f"{options[3]},uid={os.geteuid()}", options[4]]
        if shutil.which(command[0]) is None:
            continue
        if subprocess.run([*command, *mine, str(folder)], capture_output=True, check=False).returncode == 0:
            try:
                yield folder
            finally:
                subprocess.run([*command[:-1], "umount", "--lazy", str(folder)], check=False, capture_output=True)
            return
    # In a user namespace everybody may mount; the file system is then reached through the process that holds it.
    script = 'mount "$@" && echo ready && read -r line'
    holder = subprocess.Popen(
        ["unshare", "-Urm", "sh", "-c", script, "sh", *options, str(folder)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert holder.stdin is not None
    assert holder.stdout is not None
    try:
        if holder.stdout.readline() != b"ready\n":
            raise RuntimeError("this system lets nobody mount a small disk: not root, not by sudo, not in a namespace")
        yield Path(f"/proc/{holder.pid}/root{folder}")
    finally:
        holder.stdin.close()
        holder.stdout.close()
        holder.wait(timeout=30)
