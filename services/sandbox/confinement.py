"""What the worker takes from itself before it opens a file: resources, the network, the rest of the disk."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from services.content import Limits
from services.sandbox import landlock, namespaces, seccomp
from services.sandbox.libreoffice_pipes import PIPE_FOLDERS, is_converted

ADDRESS_SPACE_FACTOR = 4
MIN_ADDRESS_SPACE = 4 * 1024**3
"""The address space is the backstop behind the watch on resident memory: so many times the limit, and not less than
this, since threads and libraries reserve far more than they use. Source: measured, LibreOffice 7.4 converts a page
within 1 GiB of address space, of which it uses 120 MB; fresh memory is touched at 8 GB a second at most."""

_CPU_GRACE_S = 2
_OPEN_FILES = 512
_USERS_PROCESSES = 2048
"""Processes and threads of all documents together; only inside a user namespace, where nobody else's count."""


def lay_limits(limits: Limits) -> None:
    """Limits this process's address space, CPU time, file sizes and open files, as far as the system lets it."""
    import resource

    address_space = max(ADDRESS_SPACE_FACTOR * limits.memory_bytes, MIN_ADDRESS_SPACE)
    cpu_s = max(1, int(limits.cpu_s)) + _CPU_GRACE_S  # the guard, which counts the whole group, comes first
    wanted = {
        resource.RLIMIT_AS: (address_space, address_space),
        resource.RLIMIT_CPU: (cpu_s, cpu_s + 5),  # at the first SIGXCPU, which says why; at the second SIGKILL
        resource.RLIMIT_FSIZE: (limits.max_output_bytes,) * 2,
        resource.RLIMIT_NOFILE: (_OPEN_FILES, _OPEN_FILES),
        resource.RLIMIT_CORE: (0, 0),
    }
    for kind, (soft, hard) in wanted.items():
        _, bound = resource.getrlimit(kind)
        if bound != resource.RLIM_INFINITY:
            soft, hard = min(soft, bound), min(hard, bound)
        try:
            resource.setrlimit(kind, (soft, hard))
        except (ValueError, OSError):
            # macOS knows RLIMIT_AS and refuses to set it; the guard still watches there.
            continue


def confine(request: Mapping[str, Any]) -> dict[str, Any]:
    """Confines this process for good, and returns what is in force; call it once, with one thread.

    `request` has `guarded` (processes that may not be sent a signal), `private` (the only folder to write to),
    `readable` (further paths to read) and `network` (the server's network namespace).
    """
    namespaces.hide_memory()
    is_apart = namespaces.own_network() not in ("", request["network"])
    if is_apart:
        _limit_processes()
    version = landlock.confine(request["readable"], [request["private"]], PIPE_FOLDERS if is_converted(request) else ())
    has_filter = seccomp.forbid_network(request["guarded"])
    return {"network_namespace": is_apart, "seccomp": has_filter, "landlock": version}


def _limit_processes() -> None:
    import resource

    _, bound = resource.getrlimit(resource.RLIMIT_NPROC)
    most = _USERS_PROCESSES if bound == resource.RLIM_INFINITY else min(_USERS_PROCESSES, bound)
    resource.setrlimit(resource.RLIMIT_NPROC, (most, most))


def try_to_leave(folder: Path, other_file: Path) -> dict[str, bool]:
    """What this process can still do that it should not, by trying: the check behind `docatlas doctor`."""
    return {
        "connects": _can_connect(),
        "writes_elsewhere": _can_write(folder.parent),
        "reads_elsewhere": _can_read(other_file),
    }


def _can_connect() -> bool:
    """Whether a datagram socket finds a way to a remote address (of RFC 5737); nothing is sent."""
    try:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            probe.connect(("192.0.2.1", 9))
    except OSError:
        return False
    return True


def _can_write(folder: Path) -> bool:
    path = folder / f"probe-{os.getpid()}"
    try:
        path.touch()
    except OSError:
        return False
    path.unlink()
    return True


def _can_read(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            file.read(1)
    except OSError:
        return False
    return True


def readable_paths(paths: Iterable[str | Path | None]) -> list[str]:
    """Each path as given and as it is without links, so that both ways to it are open."""
    found = [str(path) for path in paths if path is not None]
    return sorted({*found, *(os.path.realpath(path) for path in found)})
