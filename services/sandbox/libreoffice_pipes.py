"""The sockets that LibreOffice makes in the system's temporary folder, whatever TMPDIR says, and leaves when killed.

The guard imports this, so the imports stay few.
"""

from __future__ import annotations

import os
import socket
import stat
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

PIPE_FOLDERS = ("/tmp", "/var/tmp")
"""Source: LibreOffice 7.4, sal/osl/unx/pipe.cxx, PIPEDEFAULTPATH and PIPEALTERNATEPATH."""

_CONVERTED = ("doc", "ppt")


def is_converted(request: Mapping[str, Any]) -> bool:
    """Whether the file of this request is one that LibreOffice converts first."""
    return request.get("libreoffice") is not None and request.get("format") in _CONVERTED


def remove_dead_pipes() -> None:
    """Removes the sockets of this user's LibreOffice processes that nobody listens on any more."""
    for folder in map(Path, PIPE_FOLDERS):
        for path in folder.glob(f"OSL_PIPE_{os.getuid()}_*"):
            with suppress(OSError):
                if stat.S_ISSOCK(path.lstat().st_mode) and path.lstat().st_uid == os.getuid() and _is_dead(path):
                    path.unlink()


def _is_dead(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.setblocking(False)
        try:
            probe.connect(str(path))
        except ConnectionRefusedError:
            return True
        except OSError:
            return False
    return False
