"""The parent process of an embedded Postgres.

Run as a script with one argument, the JSON of what `main` reads. Whoever uses the server holds a shared lock on a file.
The kernel gives that lock back however a process ends, and this one, which waits for an exclusive lock on the same
file, gets it when nobody is left: then it stops the server. So several programs share a server, and none leaves one
behind, not even by SIGKILL. It imports the standard library only, because it is to be small and to start at once.
"""

from __future__ import annotations

import fcntl
import json
import os
import signal
import subprocess
import sys
import threading
import time
from typing import Any

SHUTDOWN_S = 30.0
"""Seconds that an orderly shutdown, which writes a checkpoint, may take before the server is told to leave at once."""


def main(argument: str) -> int:
    """Starts the server, or watches over one that lost its guard, until it has ended.

    Returns its exit status.
    """
    spec: dict[str, Any] = json.loads(argument)
    own = os.open(spec["guard_lock"], os.O_RDWR)
    fcntl.flock(own, fcntl.LOCK_EX)
    # A service manager signals every process at once; the server is to go last. As handlers, not as ignored signals,
    # which the server would inherit.
    for number in (signal.SIGHUP, signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: None)
    if "adopt" in spec:
        pid = int(spec["adopt"])
        watch = _stop_with_last_user(spec["users_lock"], pid)
        while watch.is_alive() and is_alive(pid):
            time.sleep(0.1)
        status = 0
    else:
        server = _start(spec)
        _stop_with_last_user(spec["users_lock"], server.pid)
        status = server.wait()
    # Before the users' lock, which ends with the process: who gets that may need a guard of its own.
    os.close(own)
    return status


def _start(spec: dict[str, Any]) -> subprocess.Popen[bytes]:
    user = spec["user"]
    dropped = {} if user is None else {"user": user[0], "group": user[1], "extra_groups": []}
    log = os.open(spec["log"], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    try:
        return subprocess.Popen(
            spec["command"],
            cwd=spec["cwd"],
            env=spec["environment"],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            **dropped,
        )
    finally:
        os.close(log)


def _stop_with_last_user(users_lock: str, pid: int) -> threading.Thread:
    def wait_and_end() -> None:
        users = os.open(users_lock, os.O_RDWR)
        fcntl.flock(users, fcntl.LOCK_EX)
        end(pid)

    watch = threading.Thread(target=wait_and_end, daemon=True)
    watch.start()
    return watch


def end(pid: int, *, shutdown_s: float = SHUTDOWN_S) -> None:
    """Stops the server in an orderly way, or else at once.

    Returns when it is gone; a paused one is woken.

    Source: PostgreSQL documentation, "Shutting Down the Server": SIGINT rolls back and writes a checkpoint, SIGQUIT
    leaves recovery to the next start; neither loses what was committed, nor does SIGKILL.
    """
    for number, patience_s in ((signal.SIGINT, shutdown_s), (signal.SIGQUIT, 5.0), (signal.SIGKILL, 5.0)):
        try:
            os.kill(pid, number)
            os.kill(pid, signal.SIGCONT)
        except ProcessLookupError:
            return
        deadline = time.monotonic() + patience_s
        while time.monotonic() < deadline:
            if not is_alive(pid):
                return
            time.sleep(0.02)


def is_alive(pid: int) -> bool:
    """True while a process with this id exists.

    Also one that has ended and waits for its parent.
    """
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
