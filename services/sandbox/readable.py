"""The paths that a parsing worker may read beside its document: the system's and the program's, not the data folder."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

_SYSTEM = (
    "/usr", "/lib", "/lib32", "/lib64", "/bin", "/sbin", "/nix", "/snap", "/home/linuxbrew/.linuxbrew",
    "/var/cache/fontconfig", "/var/spool/libreoffice",
    "/sys/devices/system/cpu", "/sys/devices/system/node", "/sys/kernel/mm/transparent_hugepage",
)  # fmt: skip
"""What programs read of a system. Data, homes, /opt, /root, /run, /srv and /tmp are not among it; LibreOffice,
Tesseract and Python are found wherever they are installed."""
_SETTINGS = (
    "ld.so.cache", "ld.so.conf", "ld.so.conf.d", "ld.so.preload", "ld-musl-x86_64.path", "ld-musl-aarch64.path",
    "fonts", "libreoffice", "localtime", "timezone", "locale.alias", "locale.conf", "passwd", "group", "nsswitch.conf",
    "mime.types", "papersize", "paperspecs", "alternatives", "ssl/openssl.cnf", "pki/tls/openssl.cnf",
    "crypto-policies",
)  # fmt: skip
"""What programs read of /etc. The rest of it may hold passwords, the server's own among them."""
DEVICE_FILES = ("/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom")

PROJECT = Path(__file__).resolve().parents[2]


def system_paths() -> list[str]:
    """The system's files that a parser may read."""
    return [*_SYSTEM, *(f"/etc/{name}" for name in _SETTINGS)]


def own_program() -> list[str]:
    """What Python and this program are made of: read by the worker wherever they are installed."""
    found = [sys.prefix, sys.base_prefix, sys.exec_prefix, sys.executable, os.path.realpath(sys.executable)]
    found.append(str(PROJECT / "services"))
    # A checkout's own folder stands in sys.path too; a data folder may lie in it.
    hidden = PROJECT if (PROJECT / "pyproject.toml").exists() else None
    found += [entry for entry in sys.path if entry and Path(entry).resolve() != hidden]
    found += [entry for entry in os.environ.get("LD_LIBRARY_PATH", "").split(":") if entry.startswith("/")]
    return list(dict.fromkeys(found))


def without(paths: Iterable[str], hidden: Sequence[str]) -> list[str]:
    """`paths`, those above a hidden one replaced by what lies beside the way to it: for rules that only allow.

    Names in a folder on that way cannot be listed then. A path below a hidden one stays: it was asked for by name.
    """
    found: list[str] = []
    for path in paths:
        found += _beside(path, {os.path.realpath(one) for one in hidden})
    return found


def _beside(path: str, hidden: set[str]) -> list[str]:
    real = os.path.realpath(path)
    if real in hidden:
        return []
    if not any(is_below(one, real) for one in hidden):
        return [path]
    found: list[str] = []
    try:
        with os.scandir(real) as entries:
            for entry in entries:
                if not entry.is_symlink():  # where it leads to has a rule of its own, or none
                    found += _beside(entry.path, hidden)
    except OSError:
        return []
    return found


def is_below(path: str, folder: str) -> bool:
    """Whether `path` lies in `folder`, at any depth; both are absolute."""
    return path != folder and os.path.commonpath((path, folder)) == folder
