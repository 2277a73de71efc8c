"""A view of the file system with nothing in it but what a parser needs: read-only, in a mount namespace of its own.

Source: mount(2), mount_setattr(2), pivot_root(2), mount_namespaces(7) of man-pages 6.9.
"""

from __future__ import annotations

import ctypes
import errno
import os
import sys
from collections.abc import Sequence
from contextlib import suppress

from services.sandbox import namespaces
from services.sandbox.readable import DEVICE_FILES, is_below

_NOSUID, _NODEV, _NOEXEC, _BIND, _REC, _PRIVATE = 0x2, 0x4, 0x8, 0x1000, 0x4000, 0x40000
_ATTR_RDONLY, _ATTR_NOSUID, _ATTR_NODEV, _ATTR_NOEXEC = 0x1, 0x2, 0x4, 0x8
_AT_FDCWD, _AT_RECURSIVE, _DETACH = -100, 0x8000, 0x2
_MOUNT_SETATTR = 442
"""System call (Linux 5.12); the same number on every architecture. Source: linux/mount.h, sys/mount.h."""

_LIBRARY_MAKES_PIPES_IN = "/tmp"
_PIPES_SIZE = "size=64k,nr_inodes=64,mode=1777"
_MOST_LINKS = 40
"""Links on the way to one path, as in the kernel (MAXSYMLINKS)."""


class _NoMount(Exception):
    """A step that the system refused."""


def enter_view(
    folder: str, readable: Sequence[str], files: Sequence[str], hidden: Sequence[str], *, sockets: bool
) -> bool:
    """Leaves this process with a view of its own for good; False, with nothing changed, where the system refuses.

    In it are the paths `readable` without what lies in `hidden`, then `files` even there, all read-only; `folder`,
    which alone can be written; the processes of its own namespace; and where `sockets` is asked for a /tmp for them.
    Every path is where it was. There is no shared memory. The process needs CAP_SYS_ADMIN over its mount namespace.
    """
    if sys.platform != "linux" or not namespaces.separate_mounts():
        return False
    root = os.path.join(folder, "view")
    try:
        os.mkdir(root, 0o700)
        _mount(None, "/", None, _REC | _PRIVATE)
        _mount("tmpfs", root, "tmpfs", _NOSUID | _NODEV, "size=4m,mode=755")
    except (_NoMount, OSError):
        with suppress(OSError):
            os.rmdir(root)
        return False
    try:
        _fill(root, folder, readable, files, hidden, sockets=sockets)
        os.chdir(root)
        if _libc().pivot_root(b".", b".") != 0:
            raise _NoMount(errno.errorcode[ctypes.get_errno()])
    except (_NoMount, OSError):
        os.chdir(folder)
        _libc().umount2(os.fsencode(root), _DETACH)
        with suppress(OSError):
            os.rmdir(root)
        return False
    _libc().umount2(b".", _DETACH)
    os.chdir(folder)
    with suppress(OSError):
        os.rmdir(root)
    return True


def _fill(
    root: str, folder: str, readable: Sequence[str], files: Sequence[str], hidden: Sequence[str], *, sockets: bool
) -> None:
    os.mkdir(f"{root}/tmp", 0o755)
    if sockets:
        _mount("tmpfs", root + _LIBRARY_MAKES_PIPES_IN, "tmpfs", _NOSUID | _NODEV | _NOEXEC, _PIPES_SIZE)
    shown: list[str] = []
    for path in readable:
        _show(root, path, shown)
    covered = {os.path.realpath(one) for one in hidden}
    for path in covered:
        if any(is_below(path, one) for one in shown) and os.path.isdir(root + path):
            _mount("tmpfs", root + path, "tmpfs", _NOSUID | _NODEV | _NOEXEC, "size=256k,mode=755")
    inside = [path for path in readable if any(is_below(os.path.realpath(path), one) for one in covered)]
    # What lies above a hidden folder no longer shows what lies in it.
    shown = [one for one in shown if not any(is_below(path, one) or is_below(one, path) for path in covered)]
    for path in (*inside, *files):
        _show(root, path, shown)
    for path in DEVICE_FILES:
        _show(root, path, [])
    os.mkdir(f"{root}/proc", 0o555)
    try:
        _mount("proc", f"{root}/proc", "proc", _NOSUID | _NODEV | _NOEXEC)
    except _NoMount:  # a container that masks parts of it; the processes stay out of reach, their names are seen
        _mount("/proc", f"{root}/proc", None, _BIND | _REC)
    _make_place(root, folder, is_folder=True)
    _set_attributes(root, _ATTR_RDONLY | _ATTR_NOSUID, recursive=True)
    if sockets:
        _set_attributes(root + _LIBRARY_MAKES_PIPES_IN, 0, clear=_ATTR_RDONLY)
    _mount(folder, root + folder, None, _BIND)
    _set_attributes(root + folder, _ATTR_NOSUID | _ATTR_NODEV | _ATTR_NOEXEC)


def _show(root: str, path: str, shown: list[str]) -> None:
    """Binds `path` to the same place below `root`, with the links on its way; nothing where it does not exist."""
    links, real = _way(path)
    for link, target in links:
        if not os.path.lexists(root + link):
            os.makedirs(os.path.dirname(root + link), 0o755, exist_ok=True)
            os.symlink(target, root + link)
    if real in shown or any(is_below(real, one) for one in shown) or not os.path.exists(real):
        return
    _make_place(root, real, is_folder=os.path.isdir(real))
    _mount(real, root + real, None, _BIND | _REC)
    shown.append(real)


def _way(path: str) -> tuple[list[tuple[str, str]], str]:
    """The links on the way to `path` with their targets, and the path without links."""
    todo, current = [part for part in reversed(path.split("/")) if part], "/"
    links: list[tuple[str, str]] = []
    while todo:
        part = todo.pop()
        if part in (".", ".."):
            current = os.path.dirname(current) if part == ".." else current
            continue
        following = os.path.join(current, part)
        if not os.path.islink(following) or len(links) == _MOST_LINKS:
            current = following
            continue
        target = os.readlink(following)
        links.append((following, target))
        todo += [step for step in reversed(target.split("/")) if step]
        if target.startswith("/"):
            current = "/"
    return links, current


def _make_place(root: str, path: str, *, is_folder: bool) -> None:
    """Makes the folder or file to bind `path` over, where it is not there already."""
    place = root + path
    if os.path.lexists(place):
        return
    os.makedirs(place if is_folder else os.path.dirname(place), 0o755, exist_ok=True)
    if not is_folder:
        os.close(os.open(place, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o400))


def _set_attributes(path: str, attributes: int, *, clear: int = 0, recursive: bool = False) -> None:
    wanted = (ctypes.c_uint64 * 4)(attributes, clear, 0, 0)
    flags = _AT_RECURSIVE if recursive else 0
    if _libc().syscall(_MOUNT_SETATTR, _AT_FDCWD, os.fsencode(path), flags, wanted, ctypes.sizeof(wanted)) != 0:
        raise _NoMount(errno.errorcode[ctypes.get_errno()])


def _mount(source: str | None, target: str, kind: str | None, flags: int, data: str | None = None) -> None:
    texts = [None if text is None else os.fsencode(text) for text in (source, target, kind)]
    if _libc().mount(*texts, ctypes.c_ulong(flags), None if data is None else data.encode()) != 0:
        raise _NoMount(errno.errorcode[ctypes.get_errno()])


def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)
