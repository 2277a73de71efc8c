"""What keeps parsing processes apart on this machine, found out by a child that tries to leave."""

from __future__ import annotations

import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from services.content import Limits
from services.errors import DocatlasError
from services.sandbox.folders import private_folder
from services.sandbox.supervisor import run_child


@dataclass(frozen=True, slots=True)
class Isolation:
    """What is in force for a parsing process, and what it can still do although it should not."""

    network_namespace: bool
    """It has a network of its own, without an interface that is up."""
    seccomp: bool
    """A filter lets it make local sockets only, and send the server no signal."""
    landlock: int
    """Version of Landlock that keeps it to its own folder; 0 where the kernel has none."""
    connects: bool
    writes_elsewhere: bool
    reads_elsewhere: bool
    """A file of the same user that belongs neither to the system nor to the program."""

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


def probe_isolation(scratch: Path | None = None) -> Isolation | None:
    """What a child that is started now finds, in a third of a second; None where no child can be started.

    Without `scratch` the folder for it is made in the system's temporary folder.
    """
    with tempfile.TemporaryDirectory(prefix="isolation-", dir=scratch) as name:
        other = Path(name) / "other"
        other.write_text("of the same user")
        try:
            with private_folder(Path(name)) as folder:
                request = {"task": "probe", "other_file": str(other)}
                (found,) = run_child(request, limits=Limits(wall_s=20.0, cpu_s=20.0), folder=folder)
        except (DocatlasError, ValueError, OSError):
            return None
    return Isolation(**{field: found[field] for field in Isolation.__slots__})
