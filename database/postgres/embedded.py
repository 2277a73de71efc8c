"""An embedded Postgres: the programs of a wheel on a data folder of ours.

It is reached by password over loopback TCP.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import socket
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import psutil

from database.postgres import guard
from database.postgres.cluster import ADMIN_ROLE, data_folder, environment, make_cluster, read_passwords
from database.postgres.install import Install, PostgresUnavailable, find_install
from database.postgres.migrations import SERVER_ROLE

DATABASE = "postgres"
"""As on Supabase, whose tools connect to it."""
_HOST = "127.0.0.1"
_LARGE_SHARED_MEMORY = 1024**3
FAST: Mapping[str, str] = {
    "fsync": "off",
    "full_page_writes": "off",
    "synchronous_commit": "off",
    "shared_buffers": "64MB",
    "max_wal_size": "512MB",
    "autovacuum": "off",
}
"""For data that nobody needs after a crash of the machine, that is for tests."""


@dataclass(frozen=True, slots=True)
class _Running:
    pid: int
    port: int
    is_ready: bool


class EmbeddedPostgres:
    """A server on `folder`, shared by every process that starts it there.

    It ends when the last of them has gone. `folder` gets the data, the passwords (readable by its owner only) and the
    log. `settings` go before those in postgresql.conf; those of the process that really starts the server count. Not
    thread-safe.
    """

    def __init__(
        self, folder: Path, *, settings: Mapping[str, str] | None = None, sync: bool = True, timeout_s: float = 120.0
    ) -> None:
        self.folder = folder
        self._settings = dict(settings or {})
        self._sync = sync
        self._timeout_s = timeout_s
        self._users: int | None = None
        self._guard: int | None = None
        self._port = 0

    def __enter__(self) -> EmbeddedPostgres:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def data(self) -> Path:
        """Postgres' own folder."""
        return data_folder(self.folder)

    @property
    def log(self) -> Path:
        """What the server reports."""
        return self.folder / "server.log"

    @property
    def pid(self) -> int | None:
        """The server's process; None while it does not run."""
        running = self._running()
        return None if running is None else running.pid

    @property
    def port(self) -> int:
        """Where it listens; the same after a restart unless somebody else took it."""
        return self._port

    @property
    def admin_url(self) -> str:
        """Of the role that may do everything; a secret."""
        return self.url(ADMIN_ROLE)

    @property
    def server_url(self) -> str:
        """The URL of the role that the server logs in as.

        The role exists once the database was upgraded. A secret.
        """
        return self.url(SERVER_ROLE)

    def url(self, role: str, database: str = DATABASE) -> str:
        """Of one of the two roles and any database. Raises KeyError for another role."""
        return f"postgresql://{role}:{read_passwords(self.folder)[role]}@{_HOST}:{self._port}/{database}"

    def start(self) -> None:
        """Starts the server, or joins the one that runs on the folder already.

        Does nothing where that was done. Raises PostgresUnavailable when it does not run in time; the text has the last
        line of its log.
        """
        deadline = time.monotonic() + self._timeout_s
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if self._users is None:
            self._users = self._lock("users.lock", fcntl.LOCK_SH, deadline)
        with contextlib.ExitStack() as starting, contextlib.ExitStack() as undo:
            undo.callback(self._leave)
            starting.callback(os.close, self._lock("start.lock", fcntl.LOCK_EX, deadline))
            owner = self.data.stat().st_uid if self.data.exists() else None
            install = find_install(owner)
            if owner is None:
                make_cluster(self.folder, install, sync=self._sync)
            self._check_version(install)
            self._run(install, deadline)
            undo.pop_all()

    def stop(self) -> None:
        """Leaves the server, which ends (its data written) unless another process uses it.

        Returns after that.
        """
        if self._users is None:
            return
        try:
            # Gives the shared lock back also where it fails, and then either others have theirs or the guard acts.
            fcntl.flock(self._users, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            deadline = time.monotonic() + guard.SHUTDOWN_S + 15
            with contextlib.suppress(PostgresUnavailable):
                _wait_for_lock(self._users, fcntl.LOCK_SH, deadline, self.folder)
        else:
            running = self._running()
            if running is not None:
                guard.end(running.pid)
        self._leave()

    def _leave(self) -> None:
        if self._users is not None:
            os.close(self._users)
            self._users = None
        if self._guard is not None and self._running() is None:
            _reap(self._guard)
            self._guard = None

    def _lock(self, name: str, kind: int, deadline: float) -> int:
        lock = os.open(self.folder / name, os.O_RDWR | os.O_CREAT, 0o600)
        with contextlib.ExitStack() as undo:
            undo.callback(os.close, lock)
            _wait_for_lock(lock, kind, deadline, self.folder)
            undo.pop_all()
        return lock

    def _running(self) -> _Running | None:
        """The server on the folder, whoever started it.

        None also where a pid file is left of one that was killed.
        """
        try:
            lines = (self.data / "postmaster.pid").read_text("ascii").splitlines()
        except FileNotFoundError:
            return None
        if not lines or not lines[0].lstrip("-").isdigit():
            return None
        pid = abs(int(lines[0]))
        try:
            process = psutil.Process(pid)
            if process.status() == psutil.STATUS_ZOMBIE or not Path(process.cwd()).samefile(self.data):
                return None
        except (psutil.NoSuchProcess, FileNotFoundError):
            return None
        except psutil.AccessDenied:
            # Somebody else's process: not ours, unless it really is the server and belongs to its own user.
            return None
        is_ready = len(lines) > 7 and lines[7].strip() == "ready"
        return _Running(pid, int(lines[3]) if len(lines) > 3 and lines[3].strip().isdigit() else 0, is_ready)

    def _run(self, install: Install, deadline: float) -> None:
        failure = ""
        port = self._port or self._last_port()
        while time.monotonic() < deadline:
            running = self._running()
            if running is None:
                if port == 0 or not _is_free(port):
                    port = _free_port()
                offset = self.log.stat().st_size if self.log.exists() else 0
                self._remove_stale_pid()
                self._start_guard(self._server_spec(install, port))
                running = self._wait_until_ready(deadline)
                if running is None:
                    failure = _last_failure(self.log, offset)
                    if "could not bind" in failure:
                        port = 0
                    elif not ("still in use" in failure or "already exists" in failure):
                        break
                    time.sleep(0.1)
                    continue
            elif not running.is_ready:
                running = self._wait_until_ready(deadline)
                if running is None:
                    continue
            self._adopt(running.pid)
            self._port = running.port
            (self.folder / "port").write_text(f"{running.port}\n", "ascii")
            return
        raise PostgresUnavailable(
            f"The embedded Postgres in {self.folder} does not start: {failure or 'it was not ready in time'}. "
            f"Its log is {self.log}."
        )

    def _wait_until_ready(self, deadline: float) -> _Running | None:
        """The server once it accepts connections.

        None when its process has ended, or it is too late.
        """
        while time.monotonic() < deadline:
            running = self._running()
            if running is not None and running.is_ready:
                return running
            if running is None and self._guard is not None and _has_ended(self._guard):
                self._guard = None
                return None
            time.sleep(0.02)
        return None

    def _server_spec(self, install: Install, port: int) -> dict[str, object]:
        settings = {
            "listen_addresses": _HOST,
            "port": str(port),
            "unix_socket_directories": "",
            "dynamic_shared_memory_type": _shared_memory_type(),
            **self._settings,
        }
        # From where it already is, the server needs no right to enter the folders above, root's own for instance.
        data = "/proc/self/cwd" if install.user is not None and sys.platform == "linux" else str(self.data.absolute())
        command = [str(install.bin / "postgres"), "-D", data]
        for name, value in settings.items():
            command += ["-c", f"{name}={value}"]
        return {
            "command": command,
            "cwd": str(self.data.absolute()),
            "environment": environment(),
            "user": None if install.user is None else (install.user.uid, install.user.gid),
            "log": str(self.log.absolute()),
        }

    def _start_guard(self, spec: dict[str, object]) -> None:
        if self._guard is not None:
            _reap(self._guard)
        own = self.folder / "guard.lock"
        os.close(os.open(own, os.O_RDWR | os.O_CREAT, 0o600))
        spec = {**spec, "guard_lock": str(own.absolute()), "users_lock": str((self.folder / "users.lock").absolute())}
        # Not subprocess: its object would have to outlive the server, which may outlive us.
        self._guard = os.posix_spawn(
            sys.executable,
            [sys.executable, "-I", "-S", str(Path(guard.__file__).absolute()), json.dumps(spec)],
            {"PATH": os.defpath},
            file_actions=[
                (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
                (os.POSIX_SPAWN_OPEN, 1, str(self.log.absolute()), os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600),
                (os.POSIX_SPAWN_DUP2, 1, 2),
            ],
            setsid=True,
        )

    def _adopt(self, pid: int) -> None:
        """Sees to it that the running server has a guard.

        Only SIGKILL could have taken it.
        """
        lock = os.open(self.folder / "guard.lock", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return
        finally:
            os.close(lock)
        self._start_guard({"adopt": pid})

    def _remove_stale_pid(self) -> None:
        """Forgets a server that was killed, once its children are gone too.

        Postgres would do so by itself, but takes any living process with that number for the server, also one that
        has ended and that nobody waits for, as in a container without an init process.
        """
        stale = self.data / "postmaster.pid"
        if stale.exists() and not any(_works_in(process, self.data) for process in psutil.process_iter()):
            stale.unlink()

    def _check_version(self, install: Install) -> None:
        found = (self.data / "PG_VERSION").read_text("ascii").strip()
        if found != str(install.major):
            raise PostgresUnavailable(
                f"The data in {self.data} is of Postgres {found}, and Postgres {install.major} is installed. Dump it "
                f"with a Docatlas of then (pg_dump), move {self.folder} away, and restore the dump."
            )

    def _last_port(self) -> int:
        try:
            return int((self.folder / "port").read_text("ascii"))
        except (FileNotFoundError, ValueError):
            return 0


def _wait_for_lock(lock: int, kind: int, deadline: float, folder: Path) -> None:
    while True:
        try:
            fcntl.flock(lock, kind | fcntl.LOCK_NB)
            return
        except BlockingIOError as error:
            if time.monotonic() > deadline:
                raise PostgresUnavailable(
                    f"Another process has been starting or stopping the embedded Postgres in {folder} for too long."
                ) from error
            time.sleep(0.02)


def _works_in(process: psutil.Process, folder: Path) -> bool:
    with contextlib.suppress(psutil.Error, OSError):
        return Path(process.cwd()).samefile(folder)
    return False


def _reap(pid: int) -> None:
    with contextlib.suppress(ChildProcessError):
        os.waitpid(pid, 0)


def _has_ended(pid: int) -> bool:
    try:
        return os.waitpid(pid, os.WNOHANG)[0] != 0
    except ChildProcessError:
        return True


def _free_port() -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.bind((_HOST, 0))
        return int(probe.getsockname()[1])


def _is_free(port: int) -> bool:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        # As Postgres does: what lingers of the last server is no obstacle.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((_HOST, port))
        except OSError:
            return False
    return True


def _shared_memory_type() -> str:
    """The kind of memory that processes share while they build an index together.

    A container's /dev/shm (64 MB) would be too small.
    """
    try:
        room = os.statvfs("/dev/shm")
    except OSError:
        return "mmap"
    return "posix" if room.f_bavail * room.f_frsize >= _LARGE_SHARED_MEMORY else "mmap"


def _last_failure(log: Path, offset: int) -> str:
    """The last error that was written to the log after `offset`, in Postgres' words."""
    try:
        with log.open("rb") as file:
            file.seek(offset)
            lines = file.read().decode("utf-8", "replace").splitlines()
    except FileNotFoundError:
        return ""
    failures = [line.partition("FATAL:")[2].strip() for line in lines if "FATAL:" in line]
    bind = [line for line in lines if "could not bind" in line]
    return (bind or failures or lines[-1:] or [""])[-1]
