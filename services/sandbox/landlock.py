"""Landlock for the parsing worker: it reads the system, its program and its one file, and writes its own folder only.

Source: the kernel's userspace-api/landlock.rst and include/uapi/linux/landlock.h, ABI 1 (Linux 5.13) to 6 (6.12).
"""

from __future__ import annotations

import ctypes
import os
import stat
import struct
import sys
from collections.abc import Iterable
from pathlib import Path

from services.sandbox.readable import DEVICE_FILES

_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446
"""System calls; the same numbers on every architecture."""
_VERSION = 1
_PATH_BENEATH = 1
_PR_SET_NO_NEW_PRIVS = 38

_EXECUTE, _WRITE_FILE, _READ_FILE, _READ_DIR = 1 << 0, 1 << 1, 1 << 2, 1 << 3
_REMOVE_FILE, _MAKE_SOCKET = 1 << 5, 1 << 9
_TRUNCATE, _DEVICE_IOCTL = 1 << 14, 1 << 15
_FILE_RIGHTS = _EXECUTE | _WRITE_FILE | _READ_FILE | _TRUNCATE | _DEVICE_IOCTL
_READ = _EXECUTE | _READ_FILE | _READ_DIR
_DEVICES = _READ_FILE | _WRITE_FILE

_BIND_TCP, _CONNECT_TCP = 1, 2
_ABSTRACT_SOCKETS, _SIGNALS = 1, 2


def abi() -> int:
    """The version of Landlock that the running kernel has switched on, from 1; 0 for none."""
    if sys.platform != "linux":
        return 0
    return max(0, int(ctypes.CDLL(None, use_errno=True).syscall(_CREATE_RULESET, None, 0, _VERSION)))


def confine(
    readable: Iterable[str | Path],
    writable: Iterable[str | Path],
    *,
    listed: Iterable[str | Path] = (),
    sockets_in: Iterable[str | Path] = (),
) -> int:
    """Confines this process and all that it starts, for good, and returns the version in force; 0 where there is none.

    Files can be read in `readable` only, and nothing but what lies in the folders `writable` can be changed; the names
    of what lies in `listed` can be seen; in `sockets_in` local sockets can be made, and files removed. From version 4
    on no TCP socket connects, from 6 on no signal leaves the confinement. What no version restricts: modes, owners,
    times and attributes of files, and asking whether a path exists.
    """
    version = abi()
    if version == 0:
        return 0
    handled = (1 << (13, 14, 15, 15, 16)[min(version, 5) - 1]) - 1
    network = _BIND_TCP | _CONNECT_TCP if version >= 4 else 0
    scoped = _ABSTRACT_SOCKETS | _SIGNALS if version >= 6 else 0
    attributes = struct.pack("<QQQ", handled, network, scoped)[: 8 if version < 4 else 16 if version < 6 else 24]
    libc = ctypes.CDLL(None, use_errno=True)
    ruleset = libc.syscall(_CREATE_RULESET, attributes, len(attributes), 0)
    if ruleset < 0:
        return 0
    try:
        for path in readable:
            _allow(libc, ruleset, path, _READ & handled)
        for path in listed:
            _allow(libc, ruleset, path, _READ_DIR)
        for path in DEVICE_FILES:
            _allow(libc, ruleset, path, _DEVICES & handled)
        for path in writable:
            _allow(libc, ruleset, path, handled & ~_EXECUTE & ~_DEVICE_IOCTL)
        for path in sockets_in:
            _allow(libc, ruleset, path, _MAKE_SOCKET | _REMOVE_FILE)
        if libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 or libc.syscall(_RESTRICT_SELF, ruleset, 0) != 0:
            return 0
    finally:
        os.close(ruleset)
    return version


def _allow(libc: ctypes.CDLL, ruleset: int, path: str | Path, rights: int) -> None:
    """Adds a rule for `path` and what lies beneath it; a path that is not there needs none."""
    try:
        opened = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except OSError:
        return
    try:
        if not stat.S_ISDIR(os.fstat(opened).st_mode):
            rights &= _FILE_RIGHTS
        libc.syscall(_ADD_RULE, ruleset, _PATH_BENEATH, struct.pack("<Qi", rights, opened), 0)
    finally:
        os.close(opened)
