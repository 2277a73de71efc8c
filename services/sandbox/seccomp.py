"""A seccomp filter for the parsing worker: no network, and no system call that would lead out of its confinement.

The filter is a denylist. It is inherited by every program that the worker starts, and cannot be taken off again.
A library would need libseccomp beside it (a shared object that no wheel brings), for what are sixty instructions here.
"""

from __future__ import annotations

import ctypes
import errno
import platform
import struct
import sys
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass

_PR_SET_NO_NEW_PRIVS = 38
_PR_SET_SECCOMP = 22
_SECCOMP_MODE_FILTER = 2

_LOAD, _JEQ, _JGE, _JSET, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
"""Source: linux/bpf_common.h; BPF_LD+W+ABS, BPF_JMP+JEQ, JGE and JSET on a constant, BPF_RET on a constant."""
_ALLOW, _KILL_PROCESS, _ERRNO = 0x7FFF0000, 0x80000000, 0x00050000
_NUMBER_AT, _ARCH_AT, _FIRST_ARGUMENT_AT = 0, 4, 16
"""Offsets into struct seccomp_data, little endian. Source: linux/seccomp.h."""

_AF_UNIX = 1
_CLONE_NEW_ANY = 0x7E020080
"""CLONE_NEWTIME, NEWNS, NEWCGROUP, NEWUTS, NEWIPC, NEWUSER, NEWPID and NEWNET. Source: linux/sched.h."""
_X32_BIT = 0x40000000


@dataclass(frozen=True, slots=True)
class _Architecture:
    audit: int
    """AUDIT_ARCH_*. Source: linux/audit.h."""
    socket: int
    clone: int
    to_process: tuple[int, ...]
    """kill, tkill, tgkill, rt_sigqueueinfo: their first argument is a process."""
    denied: tuple[int, ...]
    has_x32: bool = False


_SINCE_5_1 = (424, 425, 426, 427, 428, 429, 430, 431, 432, 433, 438, 440, 442)
"""pidfd_send_signal, io_uring_*, open_tree, move_mount, fsopen to fspick, pidfd_getfd, process_madvise and
mount_setattr have one number everywhere. io_uring would open sockets past this filter."""
_CLONE3 = 435
"""Its flags lie in memory, out of the filter's sight; glibc falls back to clone on ENOSYS."""

_ARCHITECTURES: Mapping[str, _Architecture] = {
    "x86_64": _Architecture(
        audit=0xC000003E,
        socket=41,
        clone=56,
        to_process=(62, 200, 234, 129),
        denied=(
            101, 310, 311, 312, 298, 321, 323,  # ptrace, process_vm_*, kcmp, perf_event_open, bpf, userfaultfd
            165, 166, 155, 161, 272, 308,  # mount, umount2, pivot_root, chroot, unshare, setns
            248, 249, 250, 246, 320, 175, 313, 176,  # keys, kexec, kernel modules
            167, 168, 169, 163, 179, 103, 164, 227, 304, 303, 297,  # swap, reboot, acct, quotactl, clocks, handles
            *_SINCE_5_1,
        ),
        has_x32=True,
    ),
    "aarch64": _Architecture(
        audit=0xC00000B7,
        socket=198,
        clone=220,
        to_process=(129, 130, 131, 138),
        denied=(
            117, 270, 271, 272, 241, 280, 282,
            40, 39, 41, 51, 97, 268,
            217, 218, 219, 104, 294, 105, 273, 106,
            224, 225, 142, 89, 60, 116, 170, 112, 265, 264, 240,
            *_SINCE_5_1,
        ),
    ),
}  # fmt: skip
"""Source: arch/x86/entry/syscalls/syscall_64.tbl and include/uapi/asm-generic/unistd.h of Linux 6.12; which calls are
denied follows the default profile of Docker (moby/profiles/seccomp)."""


def is_supported() -> bool:
    """Whether this machine has a filter that is known here."""
    return sys.platform == "linux" and platform.machine() in _ARCHITECTURES and sys.byteorder == "little"


def filter_program(machine: str, guarded: Collection[int]) -> bytes:
    """The BPF program for `machine` (`x86_64` or `aarch64`): an array of struct sock_filter.

    Signals to the processes in `guarded`, to their groups, and to all at once are denied.
    """
    arch = _ARCHITECTURES[machine]
    program = _Program()
    program.load(_ARCH_AT)
    program.unless(_JEQ, arch.audit, _KILL_PROCESS)
    program.load(_NUMBER_AT)
    if arch.has_x32:
        program.when(_JGE, _X32_BIT, _ERRNO | errno.ENOSYS)
    for number in arch.denied:
        program.when(_JEQ, number, _ERRNO | errno.EPERM)
    program.when(_JEQ, _CLONE3, _ERRNO | errno.ENOSYS)

    program.block((arch.socket,), lambda inner: inner.unless(_JEQ, _AF_UNIX, _ERRNO | errno.EACCES))
    program.block((arch.clone,), lambda inner: inner.when(_JSET, _CLONE_NEW_ANY, _ERRNO | errno.EPERM))

    def spare(inner: _Program) -> None:
        for pid in sorted({-1, *guarded, *(-pid for pid in guarded)}):
            inner.when(_JEQ, pid & 0xFFFFFFFF, _ERRNO | errno.EPERM)

    program.block(arch.to_process, spare)
    program.end(_ALLOW)
    return bytes(program.code)


class _Program:
    """Instructions one after the other; each is 8 bytes: code, two jump distances, a constant."""

    def __init__(self) -> None:
        self.code = bytearray()

    def _add(self, code: int, if_true: int, if_false: int, constant: int) -> None:
        self.code += struct.pack("<HBBI", code, if_true, if_false, constant)

    def load(self, offset: int) -> None:
        self._add(_LOAD, 0, 0, offset)

    def when(self, test: int, constant: int, verdict: int) -> None:
        self._add(test, 0, 1, constant)
        self._add(_RETURN, 0, 0, verdict)

    def unless(self, test: int, constant: int, verdict: int) -> None:
        self._add(test, 1, 0, constant)
        self._add(_RETURN, 0, 0, verdict)

    def block(self, numbers: Collection[int], checks: Callable[[_Program], None]) -> None:
        """For the system calls `numbers`, `checks` on their first argument; whatever passes them is allowed."""
        inner = _Program()
        inner.load(_FIRST_ARGUMENT_AT)
        checks(inner)
        inner.end(_ALLOW)
        for number in numbers:
            self._add(_JEQ, 0, len(inner.code) // 8, number)
            self.code += inner.code

    def end(self, verdict: int) -> None:
        self._add(_RETURN, 0, 0, verdict)


class _SockFprog(ctypes.Structure):
    _fields_ = [("len", ctypes.c_ushort), ("filter", ctypes.c_char_p)]


def forbid_network(guarded: Collection[int]) -> bool:
    """Lays the filter on this process and all that it starts, for good; False where the system has none.

    `guarded` are the processes that may not be sent a signal. Only sockets of the family AF_UNIX can be made from then
    on: LibreOffice talks to itself over them. Call it with one thread only: others would stay free.
    """
    if not is_supported():
        return False
    code = filter_program(platform.machine(), guarded)
    libc = ctypes.CDLL(None, use_errno=True)
    program = _SockFprog(len(code) // 8, code)
    if libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0:
        return False
    return bool(libc.prctl(_PR_SET_SECCOMP, _SECCOMP_MODE_FILTER, ctypes.byref(program), 0, 0) == 0)
