"""What keeps parsing processes apart on this machine, found out by a child that tries to leave."""

from __future__ import annotations

import os
import socket
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from services.content import Limits
from services.errors import DocatlasError
from services.sandbox.folders import private_folder
from services.sandbox.pool import ChildPool
from services.sandbox.supervisor import run_child


@dataclass(frozen=True, slots=True)
class Isolation:
    """What is in force for a parsing process, and what it can still do although it should not."""

    network_namespace: bool
    """It has a network of its own, without an interface that is up."""
    process_namespace: bool
    """It sees no process but its own, and they all end with it."""
    mount_namespace: bool
    """It sees no file but the system's, the program's and its own."""
    seccomp: bool
    """A filter lets it make only the system calls that parsing needs: no sockets, no modes, no limits of others."""
    landlock: int
    """Version of Landlock that keeps it to its own folder; 0 where the kernel has none."""
    connects: bool
    connects_local: bool
    """To a Unix socket of the same user."""
    writes_elsewhere: bool
    reads_elsewhere: bool
    """A file of the same user that belongs neither to the system nor to the program."""
    changes_modes: bool
    """Of such a file."""
    limits_server: bool
    """It may read the server's resource limits, with the call that also sets them."""
    shares_memory: bool
    """It writes to the shared memory of all processes, /dev/shm."""

    def as_json(self) -> dict[str, Any]:
        return asdict(self)

    @property
    def network(self) -> str:
        """In words, what shuts out the network; empty where nothing does."""
        means = []
        if self.network_namespace:
            means.append("a network namespace")
        if self.seccomp:
            means.append("a seccomp filter")
        return " and ".join(means)

    @property
    def missing(self) -> list[str]:
        """In words, the means that this machine does not have or does not permit."""
        means = {
            "network namespace": self.network_namespace,
            "process namespace": self.process_namespace,
            "mount namespace": self.mount_namespace,
            "seccomp filter": self.seccomp,
            "Landlock": self.landlock > 0,
        }
        return [name for name, is_there in means.items() if not is_there]

    @property
    def escapes(self) -> list[str]:
        """In words, what a parsing process can do that it should not."""
        tries = {
            "connect to a network": self.connects,
            "connect to local sockets": self.connects_local,
            "write outside of their folder": self.writes_elsewhere,
            "read the user's other files": self.reads_elsewhere,
            "change the modes of other files": self.changes_modes,
            "change the server's limits": self.limits_server,
            "write to shared memory": self.shares_memory,
        }
        return [name for name, succeeds in tries.items() if succeeds]


def probe_isolation(scratch: Path | None = None, *, namespaces: bool = True) -> Isolation | None:
    """What a child that is started now finds, in a third of a second; None where no child can be started.

    Without `scratch` the folder for it is made in the system's temporary folder; without `namespaces` it is confined as
    on a system that permits none.
    """
    pool = ChildPool(start="spawn", namespaces=namespaces)
    with tempfile.TemporaryDirectory(prefix="isolation-", dir=scratch) as name, socket.socket(socket.AF_UNIX) as local:
        other, path = Path(name) / "other", Path(name) / "socket"
        other.write_text("of the same user")
        try:
            local.bind(str(path))
            local.listen()
            with private_folder(Path(name)) as folder:
                targets = {"file": str(other), "socket": str(path), "process": os.getpid()}
                request = {"task": "probe", "targets": targets}
                (found,) = run_child(request, limits=Limits(wall_s=20.0, cpu_s=20.0), folder=folder, pool=pool)
        except (DocatlasError, ValueError, OSError):
            return None
    return Isolation(**{field: found[field] for field in Isolation.__slots__})
