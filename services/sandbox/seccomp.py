"""A seccomp filter for the parsing worker: only the system calls that parsing needs, with harmless arguments.

The filter lists what is allowed. Every program that the worker starts inherits it, and nothing takes it off again. It
sees numbers, never what a pointer points to: which file is opened and whom a message is addressed to is kept by
Landlock and the mount namespace, or by refusing the socket. A library would need libseccomp beside it (a shared object
that no wheel brings).
"""

from __future__ import annotations

import ctypes
import errno
import itertools
import os
import platform
import struct
import sys
from collections.abc import Callable, Collection, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass

from services.sandbox.system_calls import ALLOWED, JUDGED, NEWEST, Numbers

_PR_SET_NO_NEW_PRIVS = 38
_PR_SET_SECCOMP = 22
_SECCOMP_MODE_FILTER = 2

_LOAD, _JUMP, _JEQ, _JGT, _JGE, _JSET, _AND, _RETURN = 0x20, 0x05, 0x15, 0x25, 0x35, 0x45, 0x54, 0x06
"""Source: linux/bpf_common.h; BPF_LD+W+ABS, BPF_JMP+JA, JEQ, JGT, JGE and JSET on a constant, BPF_ALU+AND, BPF_RET."""
_ALLOW, _KILL_PROCESS, _ERRNO = 0x7FFF0000, 0x80000000, 0x00050000
_NUMBER_AT, _ARCH_AT, _ARGUMENTS_AT = 0, 4, 16
"""Offsets into struct seccomp_data, little endian. Source: linux/seccomp.h."""

_AF_UNIX, _SOCK_STREAM, _SOCK_TYPE = 1, 1, 0xF
_CLONE_NEW_ANY = 0x7E020080
"""CLONE_NEWTIME, NEWNS, NEWCGROUP, NEWUTS, NEWIPC, NEWUSER, NEWPID and NEWNET. Source: linux/sched.h."""
_X32_BIT = 0x40000000

_FILE_COMMANDS = (8, 10, 15, 1024, 1026)
"""fcntl's F_SETOWN, F_SETSIG, F_SETOWN_EX (signals to other processes), F_SETLEASE and F_NOTIFY (watching files)."""
_DEVICE_COMMANDS = (
    0x5401, 0x802C542A, 0x5413, 0x540F, 0x541B, 0x5421, 0x5450, 0x5451,
)  # fmt: skip
"""ioctl's TCGETS, TCGETS2, TIOCGWINSZ, TIOCGPGRP, FIONREAD, FIONBIO, FIONCLEX and FIOCLEX. Not among them: FIOSETOWN
and SIOCSPGRP (signals to other processes), TIOCSTI (typing into a terminal), FS_IOC_SETFLAGS (attributes of files)."""
_PERSONALITY_QUERY = 0xFFFFFFFF

_LOCAL_SOCKETS = ("connect", "bind", "listen", "accept", "accept4")
"""What LibreOffice's converter, which talks to itself over a socket, needs beside `socket`."""

_WITHOUT_EFFECT = ("chmod", "fchmod", "fchmodat", "chown", "fchown", "lchown", "fchownat")
"""Answered as if they were done. Landlock does not restrict them, and libraries call them on files of their own and
give up on an error (doc2docx) or complain (SQLite in onnxruntime, LibreOffice)."""

_MOST_GUARDED = 300
"""Processes and threads that the filter names at most: a filter has room for 4,096 instructions."""


@dataclass(frozen=True, slots=True)
class _Architecture:
    audit: int
    """AUDIT_ARCH_*. Source: linux/audit.h."""
    column: int
    """Where services.sandbox.system_calls has its numbers."""
    has_x32: bool = False

    def number(self, name: str) -> int | None:
        return JUDGED[name][self.column]

    def numbers(self, calls: Numbers) -> list[int]:
        return sorted(number for pair in calls.values() if (number := pair[self.column]) is not None)


_ARCHITECTURES: Mapping[str, _Architecture] = {
    "x86_64": _Architecture(audit=0xC000003E, column=0, has_x32=True),
    "aarch64": _Architecture(audit=0xC00000B7, column=1),
}


def is_supported() -> bool:
    """Whether this machine has a filter that is known here."""
    return sys.platform == "linux" and platform.machine() in _ARCHITECTURES and sys.byteorder == "little"


def filter_program(machine: str, guarded: Collection[int], *, sockets: bool = False) -> bytes:
    """The BPF program for `machine` (`x86_64` or `aarch64`): an array of struct sock_filter.

    Signals to the processes in `guarded`, to their groups, to the own group, and to all at once are denied. Modes and
    owners of files stay as they are. With `sockets` local stream sockets can be made and connected; without, only pairs
    that are connected from the start.
    """
    arch = _ARCHITECTURES[machine]
    program = _Program()
    program.load(_ARCH_AT)
    program.unless(_JEQ, arch.audit, _KILL_PROCESS)
    program.load(_NUMBER_AT)
    if arch.has_x32:
        program.when(_JGE, _X32_BIT, _ERRNO | errno.ENOSYS)

    def judge(name: str, checks: Callable[[_Program], None]) -> None:
        number = arch.number(name)
        if number is not None:
            program.block(number, checks)

    spared = sorted({0, -1, *guarded, *(-pid for pid in guarded)})
    for name in ("kill", "tgkill"):
        judge(name, lambda inner: inner.refuse_any(0, spared, errno.EPERM))
    judge("clone", _check_clone)
    judge("clone3", lambda inner: inner.end(_ERRNO | errno.ENOSYS))  # its flags lie in memory; glibc takes clone then
    judge("memfd_create", lambda inner: inner.end(_ERRNO | errno.ENOSYS))  # memory that no limit counts
    judge("socketpair", _check_local_stream)
    judge("socket", _check_local_stream if sockets else lambda inner: inner.end(_ERRNO | errno.EACCES))
    for name in _LOCAL_SOCKETS:
        judge(name, lambda inner: inner.end(_ALLOW if sockets else _ERRNO | errno.EACCES))
    for name in _WITHOUT_EFFECT:
        judge(name, lambda inner: inner.end(_ERRNO))
    judge("prlimit64", lambda inner: inner.allow_only(0, (0,), errno.EPERM))
    judge("fcntl", lambda inner: inner.refuse_any(1, _FILE_COMMANDS, errno.EPERM))
    judge("ioctl", lambda inner: inner.allow_only(1, _DEVICE_COMMANDS, errno.ENOTTY))
    judge("personality", lambda inner: inner.allow_only(0, (_PERSONALITY_QUERY,), errno.EPERM))

    for first, last in _ranges(arch.numbers(ALLOWED)):
        program.allow_between(first, last)
    program.when(_JGT, NEWEST, _ERRNO | errno.ENOSYS)
    program.end(_ERRNO | errno.EPERM)
    return bytes(program.code)


def _check_clone(inner: _Program) -> None:
    inner.load_argument(0)
    inner.when(_JSET, _CLONE_NEW_ANY, _ERRNO | errno.EPERM)


def _check_local_stream(inner: _Program) -> None:
    """Of AF_UNIX, SOCK_STREAM: a message on a datagram socket may name any receiver, in memory that no filter sees."""
    inner.load_argument(0)
    inner.unless(_JEQ, _AF_UNIX, _ERRNO | errno.EACCES)
    inner.load_argument(1)
    inner.mask(_SOCK_TYPE)
    inner.unless(_JEQ, _SOCK_STREAM, _ERRNO | errno.EACCES)


def _ranges(numbers: Iterable[int]) -> Iterable[tuple[int, int]]:
    """The runs of neighbours in sorted numbers, each as its first and last."""
    for _, run in itertools.groupby(enumerate(numbers), key=lambda pair: pair[1] - pair[0]):
        members = [number for _, number in run]
        yield members[0], members[-1]


class _Program:
    """Instructions one after the other; each is 8 bytes: code, two jump distances, a constant."""

    def __init__(self) -> None:
        self.code = bytearray()

    def _add(self, code: int, if_true: int, if_false: int, constant: int) -> None:
        self.code += struct.pack("<HBBI", code, if_true, if_false, constant)

    def load(self, offset: int) -> None:
        self._add(_LOAD, 0, 0, offset)

    def load_argument(self, index: int) -> None:
        """The lower half of an argument, which is all that the kernel reads of an `int`."""
        self.load(_ARGUMENTS_AT + 8 * index)

    def mask(self, bits: int) -> None:
        self._add(_AND, 0, 0, bits)

    def when(self, test: int, constant: int, verdict: int) -> None:
        self._add(test, 0, 1, constant)
        self._add(_RETURN, 0, 0, verdict)

    def unless(self, test: int, constant: int, verdict: int) -> None:
        self._add(test, 1, 0, constant)
        self._add(_RETURN, 0, 0, verdict)

    def allow_between(self, first: int, last: int) -> None:
        self._add(_JGE, 0, 2, first)
        self._add(_JGT, 1, 0, last)
        self._add(_RETURN, 0, 0, _ALLOW)

    def refuse_any(self, argument: int, values: Iterable[int], error: int) -> None:
        self.load_argument(argument)
        for value in values:
            self.when(_JEQ, value & 0xFFFFFFFF, _ERRNO | error)

    def allow_only(self, argument: int, values: Iterable[int], error: int) -> None:
        self.load_argument(argument)
        for value in values:
            self.when(_JEQ, value, _ALLOW)
        self.end(_ERRNO | error)

    def block(self, number: int, checks: Callable[[_Program], None]) -> None:
        """For the system call `number`, `checks` on its arguments; whatever passes them is allowed."""
        inner = _Program()
        checks(inner)
        inner.end(_ALLOW)
        self._add(_JEQ, 1, 0, number)
        self._add(_JUMP, 0, 0, len(inner.code) // 8)
        self.code += inner.code

    def end(self, verdict: int) -> None:
        self._add(_RETURN, 0, 0, verdict)


def processes_of_user() -> list[int]:
    """The processes of this user with their threads, but this one: whom a signal could reach; for a filter's `guarded`.

    Those that start later are not among them.
    """
    found: list[int] = []
    own, uid = os.getpid(), os.getuid()
    with suppress(OSError), os.scandir("/proc") as entries:
        for entry in entries:
            if not entry.name.isdecimal() or int(entry.name) == own:
                continue
            with suppress(OSError):
                if entry.stat().st_uid == uid:
                    found += [int(thread) for thread in os.listdir(f"/proc/{entry.name}/task")]
    return found[:_MOST_GUARDED]


class _SockFprog(ctypes.Structure):
    _fields_ = [("len", ctypes.c_ushort), ("filter", ctypes.c_char_p)]


def restrict_system_calls(guarded: Collection[int], *, sockets: bool = False) -> bool:
    """Lays the filter on this process and all that it starts, for good; False where the system has none.

    `guarded` and `sockets` are those of `filter_program`. Call it with one thread only: others would stay free.
    """
    if not is_supported():
        return False
    code = filter_program(platform.machine(), guarded, sockets=sockets)
    libc = ctypes.CDLL(None, use_errno=True)
    program = _SockFprog(len(code) // 8, code)
    if libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0:
        return False
    return bool(libc.prctl(_PR_SET_SECCOMP, _SECCOMP_MODE_FILTER, ctypes.byref(program), 0, 0) == 0)
