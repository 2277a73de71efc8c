"""What the worker takes from itself before it opens a file: resources, the network, the rest of the disk."""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from services.content import Limits
from services.sandbox import landlock, mounts, namespaces, seccomp
from services.sandbox import readable as readable_system
from services.sandbox.libreoffice_pipes import PIPE_FOLDERS, is_converted

ADDRESS_SPACE_FACTOR = 4
MIN_ADDRESS_SPACE = 4 * 1024**3
"""The address space is the backstop behind the watch on resident memory: so many times the limit, and not less than
this, since threads and libraries reserve far more than they use. Source: measured, LibreOffice 7.4 converts a page
within 1 GiB of address space, of which it uses 120 MB; fresh memory is touched at 8 GB a second at most."""

_CPU_GRACE_S = 2
_OPEN_FILES = 512
_PROCESS_FILES = (
    "/proc/self", "/proc/cpuinfo", "/proc/meminfo", "/proc/stat", "/proc/filesystems", "/proc/version",
    "/proc/sys/kernel/pid_max", "/proc/sys/kernel/random", "/proc/sys/kernel/osrelease", "/proc/sys/vm",
)  # fmt: skip
"""What may be read of the process file system where it is the server's: not what others were started with."""
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
    `readable` (files to read), `programs` (folders to read and to start programs from), `hidden` (folders of which
    nothing else may be read), `network` (the server's network namespace), `namespaces` (whether to use them) and
    `leads_processes` (whether a process in between leads a namespace of processes).
    """
    namespaces.hide_memory()
    private, hidden, sockets = request["private"], request["hidden"], is_converted(request)
    is_apart = request["namespaces"] and namespaces.own_network() not in ("", request["network"])
    if is_apart:
        _limit_processes()
    readable = [*readable_system.system_paths(), *readable_system.own_program(), *request["programs"]]
    has_view = request["namespaces"] and mounts.enter_view(
        private, readable, request["readable"], hidden, sockets=sockets
    )
    namespaces.drop_capabilities()
    guarded = list(request["guarded"])
    if not request["leads_processes"]:
        guarded += seccomp.processes_of_user()
    # In a view everything may be read that is there; the process file system lists this namespace's processes only.
    allowed = [*readable, "/proc"] if has_view else [*readable_system.without(readable, hidden), *_PROCESS_FILES]
    version = landlock.confine(
        [*allowed, *request["readable"]],
        [private],
        # Python looks for a module by listing the folder that it may lie in, so names can be seen in the project's.
        listed=[readable_system.PROJECT],
        sockets_in=PIPE_FOLDERS if sockets else (),
    )
    has_filter = seccomp.restrict_system_calls(guarded, sockets=sockets)
    return {
        "network_namespace": is_apart,
        "process_namespace": bool(request["leads_processes"]),
        "mount_namespace": has_view,
        "seccomp": has_filter,
        "landlock": version,
    }


def _limit_processes() -> None:
    import resource

    _, bound = resource.getrlimit(resource.RLIMIT_NPROC)
    most = _USERS_PROCESSES if bound == resource.RLIM_INFINITY else min(_USERS_PROCESSES, bound)
    resource.setrlimit(resource.RLIMIT_NPROC, (most, most))


def try_to_leave(folder: Path, targets: Mapping[str, Any]) -> dict[str, bool]:
    """What this process can still do that it should not, by trying: the check behind `docatlas doctor`.

    `targets` has `file` and `socket`, of the same user and outside of `folder`, and `process`, the server.
    """
    other, server = Path(targets["file"]), int(targets["process"])
    return {
        "connects": _can(_connect_to_remote),
        "connects_local": _can(lambda: _connect_to(targets["socket"])),
        "writes_elsewhere": _can(lambda: _write_in(folder.parent)),
        "reads_elsewhere": _can(other.read_bytes),
        "changes_modes": _can(lambda: _change_mode_of(other)),
        "limits_server": _can(lambda: _read_limits_of(server)),
        "shares_memory": _can(lambda: _write_in(Path("/dev/shm"))),
    }


def _can(action: Callable[[], object]) -> bool:
    try:
        action()
    except OSError:
        return False
    return True


def _connect_to_remote() -> None:
    """Finds a way to a remote address (of RFC 5737) for a datagram socket; nothing is sent."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect(("192.0.2.1", 9))


def _connect_to(path: str) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.connect(path)


def _write_in(folder: Path) -> None:
    path = folder / f"probe-{os.getpid()}"
    path.touch()
    path.unlink()


def _change_mode_of(path: Path) -> None:
    before = path.stat().st_mode
    path.chmod(before ^ 0o100)
    if path.stat().st_mode == before:
        raise PermissionError("the mode is as it was")
    path.chmod(before)


def _read_limits_of(process: int) -> None:
    """Uses the call that sets another process's limits too, without setting one."""
    import resource

    if sys.platform == "linux":
        resource.prlimit(process, resource.RLIMIT_NOFILE)
    else:
        raise OSError("this system lets a process limit itself only")


def readable_paths(paths: Iterable[str | Path | None]) -> list[str]:
    """Each path as given and as it is without links, so that both ways to it are open."""
    found = [str(path) for path in paths if path is not None]
    return sorted({*found, *(os.path.realpath(path) for path in found)})
