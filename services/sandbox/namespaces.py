"""Namespaces and process attributes of Linux for parsing processes; on other systems each call answers False."""

from __future__ import annotations

import ctypes
import os
import sys

_CLONE_NEWNS, _CLONE_NEWIPC, _CLONE_NEWUSER = 0x00020000, 0x08000000, 0x10000000
_CLONE_NEWPID, _CLONE_NEWNET = 0x20000000, 0x40000000
_PR_SET_PDEATHSIG, _PR_SET_DUMPABLE, _PR_SET_CHILD_SUBREAPER, _PR_SET_NO_NEW_PRIVS = 1, 4, 36, 38
_CAPABILITY_VERSION_3 = 0x20080522
"""Source: linux/sched.h, linux/prctl.h, linux/capability.h."""


def leave_network() -> bool:
    """Moves this process, which has one thread, into a user and a network namespace of its own; False where forbidden.

    In there is no interface that is up, not even loopback. The user stays who it is. It keeps the right to make further
    namespaces, until `drop_capabilities`. Root needs no user namespace for it where those are switched off.
    """
    uid, gid = os.getuid(), os.getgid()
    if not _unshare(_CLONE_NEWUSER | _CLONE_NEWNET | _CLONE_NEWIPC):
        return _unshare(_CLONE_NEWNET | _CLONE_NEWIPC)
    try:
        for name, line in (("setgroups", "deny"), ("uid_map", f"{uid} {uid} 1"), ("gid_map", f"{gid} {gid} 1")):
            with open(f"/proc/self/{name}", "w", encoding="ascii") as file:
                file.write(line)
    except OSError:
        # The namespaces are entered; only the name of the user is unknown in there, which no parser asks for.
        pass
    return True


def separate_processes() -> bool:
    """Puts what this process forks next, and all below it, into a process namespace; False where that is forbidden.

    The first that is forked leads it: when that ends, the system ends all the others.
    """
    return _unshare(_CLONE_NEWPID)


def separate_mounts() -> bool:
    """Moves this process into a mount namespace and one for shared memory and queues; False where that is forbidden."""
    return _unshare(_CLONE_NEWNS | _CLONE_NEWIPC)


def drop_capabilities() -> None:
    """Takes every capability from this process for good, those of root too."""
    if sys.platform != "linux":
        return
    _prctl(_PR_SET_NO_NEW_PRIVS, 1)
    libc = ctypes.CDLL(None, use_errno=True)
    header = (ctypes.c_uint32 * 2)(_CAPABILITY_VERSION_3, 0)
    libc.capset(ctypes.byref(header), ctypes.byref((ctypes.c_uint32 * 6)()))


def own_network() -> str:
    """Name of the network namespace of this process, such as `net:[4026531840]`; empty where there are none."""
    try:
        return os.readlink("/proc/self/ns/net")
    except OSError:
        return ""


def end_with_parent(signal_number: int) -> None:
    """Has the system send this process the signal when its parent ends; nothing on other systems."""
    _prctl(_PR_SET_PDEATHSIG, signal_number)


def adopt_orphans() -> bool:
    """Makes this process the parent of every descendant whose own parent ends, in place of the system's init."""
    return _prctl(_PR_SET_CHILD_SUBREAPER, 1)


def hide_memory() -> bool:
    """Keeps other processes of the same user from looking into this one, and it from dumping core."""
    return _prctl(_PR_SET_DUMPABLE, 0)


def _unshare(flags: int) -> bool:
    if sys.platform != "linux":
        return False
    return bool(ctypes.CDLL(None, use_errno=True).unshare(flags) == 0)


def _prctl(option: int, value: int) -> bool:
    if sys.platform != "linux":
        return False
    return bool(ctypes.CDLL(None, use_errno=True).prctl(option, value, 0, 0, 0) == 0)
