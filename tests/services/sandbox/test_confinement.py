"""Each means of confinement by itself: the filter's program on both architectures, and each one in a real process."""

from __future__ import annotations

import errno
import os
import signal
import struct
import subprocess
import sys
from pathlib import Path

import pytest

from services.sandbox import usage
from services.sandbox.seccomp import filter_program
from tests.support.paths import ROOT
from tests.support.waiting import wait_for

ALLOW, KILL, WITHOUT_EFFECT = 0x7FFF0000, 0x80000000, 0x00050000
X86, ARM = ("x86_64", 0xC000003E), ("aarch64", 0xC00000B7)


def verdict(machine: str, audit: int, number: int, *arguments: int, sockets: bool = False) -> int:
    """What the filter answers for one system call: allowed (0), an errno, killed (-1), nothing done (-2)."""
    program = filter_program(machine, [1234], sockets=sockets)
    words = [argument & 0xFFFFFFFF for argument in arguments] + [0] * (6 - len(arguments))
    data = struct.pack("<IIQ6Q", number, audit, 0, *words)
    at, loaded = 0, 0
    while True:
        code, if_true, if_false, constant = struct.unpack_from("<HBBI", program, 8 * at)
        at += 1
        match code:
            case 0x20:
                (loaded,) = struct.unpack_from("<I", data, constant)
            case 0x54:
                loaded &= constant
            case 0x05:
                at += constant
            case 0x15:
                at += if_true if loaded == constant else if_false
            case 0x25:
                at += if_true if loaded > constant else if_false
            case 0x35:
                at += if_true if loaded >= constant else if_false
            case 0x45:
                at += if_true if loaded & constant else if_false
            case 0x06:
                return {ALLOW: 0, KILL: -1, WITHOUT_EFFECT: -2}.get(int(constant), int(constant) & 0xFFFF)


PERM, NOSYS, ACCES = errno.EPERM, errno.ENOSYS, errno.EACCES


@pytest.mark.parametrize(
    ("machine", "number", "arguments", "answer"),
    [
        (X86, 41, (1, 1), ACCES),  # socket(AF_UNIX, SOCK_STREAM)
        (X86, 41, (2, 1), ACCES),
        (X86, 41, (10, 1), ACCES),
        (X86, 41, (16, 3), ACCES),
        (X86, 42, (3,), ACCES),  # connect
        (X86, 49, (3,), ACCES),  # bind
        (X86, 53, (1, 0x80001), 0),  # socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC)
        (X86, 53, (1, 2), ACCES),  # of datagrams, each of which may name a receiver
        (X86, 53, (1, 5), ACCES),
        (X86, 56, (0x01200011,), 0),  # clone as fork does it
        (X86, 56, (0x10000011,), PERM),
        (X86, 435, (), NOSYS),
        (X86, 62, (99,), 0),  # kill
        (X86, 62, (1234,), PERM),
        (X86, 62, (-1234,), PERM),
        (X86, 62, (-1,), PERM),
        (X86, 62, (0,), PERM),  # the own group, in which the guard is
        (X86, 234, (1234, 1234), PERM),  # tgkill
        (X86, 200, (99,), PERM),  # tkill, which takes threads of the server
        (X86, 129, (99,), PERM),  # rt_sigqueueinfo
        (X86, 302, (0, 7), 0),  # prlimit64 of itself
        (X86, 302, (1234, 7), PERM),
        (X86, 302, (99, 7), PERM),
        (X86, 203, (0,), PERM),  # sched_setaffinity
        (X86, 144, (0,), PERM),  # sched_setscheduler
        (X86, 314, (0,), PERM),  # sched_setattr
        (X86, 141, (0, 0), PERM),  # setpriority
        (X86, 251, (1, 0), PERM),  # ioprio_set
        (X86, 90, (), -2),  # chmod
        (X86, 91, (), -2),  # fchmod
        (X86, 268, (), -2),  # fchmodat
        (X86, 452, (), PERM),  # fchmodat2
        (X86, 92, (), -2),  # chown
        (X86, 188, (), PERM),  # setxattr
        (X86, 280, (), PERM),  # utimensat
        (X86, 72, (3, 2), 0),  # fcntl(F_SETFD)
        (X86, 72, (3, 8), PERM),  # F_SETOWN
        (X86, 72, (3, 15), PERM),  # F_SETOWN_EX
        (X86, 72, (3, 1026), PERM),  # F_NOTIFY
        (X86, 16, (3, 0x5401), 0),  # ioctl(TCGETS)
        (X86, 16, (3, 0x5412), errno.ENOTTY),  # TIOCSTI
        (X86, 16, (3, 0x8901), errno.ENOTTY),  # FIOSETOWN
        (X86, 29, (), PERM),  # shmget
        (X86, 68, (), PERM),  # msgget
        (X86, 240, (), PERM),  # mq_open
        (X86, 319, (), NOSYS),  # memfd_create
        (X86, 254, (), PERM),  # inotify_add_watch
        (X86, 103, (), PERM),  # syslog
        (X86, 135, (0xFFFFFFFF,), 0),  # personality, asked for
        (X86, 135, (0x40000,), PERM),
        (X86, 101, (), PERM),  # ptrace
        (X86, 310, (), PERM),  # process_vm_readv
        (X86, 165, (), PERM),  # mount
        (X86, 272, (), PERM),  # unshare
        (X86, 308, (), PERM),  # setns
        (X86, 321, (), PERM),  # bpf
        (X86, 298, (), PERM),  # perf_event_open
        (X86, 323, (), PERM),  # userfaultfd
        (X86, 250, (), PERM),  # keyctl
        (X86, 425, (), PERM),  # io_uring_setup
        (X86, 434, (), PERM),  # pidfd_open
        (X86, 600, (), NOSYS),
        (X86, 0x40000000 + 41, (2,), NOSYS),  # x32
        (X86, 0, (), 0),
        (ARM, 198, (1, 1), ACCES),
        (ARM, 198, (2, 1), ACCES),
        (ARM, 220, (0x10000011,), PERM),
        (ARM, 129, (1234,), PERM),
        (ARM, 261, (99, 7), PERM),
        (ARM, 117, (), PERM),
        (ARM, 41, (2,), PERM),  # pivot_root there
        (ARM, 52, (), -2),  # fchmod
        (ARM, 194, (), PERM),  # shmget
        (ARM, 63, (), 0),
    ],
)
def test_the_filter_lets_through_what_parsing_needs(
    machine: tuple[str, int], number: int, arguments: tuple[int, ...], answer: int
) -> None:
    assert verdict(*machine, number, *arguments) == answer


@pytest.mark.parametrize(
    ("number", "arguments", "answer"),
    [(41, (1, 1), 0), (41, (1, 2), ACCES), (41, (2, 1), ACCES), (42, (3,), 0), (49, (3,), 0), (53, (1, 2), ACCES)],
)
def test_the_converter_gets_local_stream_sockets_and_no_others(
    number: int, arguments: tuple[int, ...], answer: int
) -> None:
    assert verdict(*X86, number, *arguments, sockets=True) == answer


@pytest.mark.parametrize("machine", ["x86_64", "aarch64"])
def test_a_filter_that_guards_many_processes_is_small_enough_for_the_kernel(machine: str) -> None:
    assert len(filter_program(machine, range(2, 302))) // 8 < 4096


def test_a_call_of_another_architecture_ends_the_process() -> None:
    assert verdict("x86_64", 0x40000003, 102) == -1
    assert verdict("aarch64", 0xC000003E, 63) == -1


def said(script: str, *arguments: str) -> str:
    """What a process of its own prints."""
    done = subprocess.run(
        [sys.executable, "-c", script, *arguments], cwd=ROOT, capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


def test_the_watch_sees_the_same_with_and_without_proc() -> None:
    with subprocess.Popen([sys.executable, "-c", "import subprocess; subprocess.run(['sleep', '60'])"]) as parent:
        wait_for(lambda: len(usage.descendants(parent.pid)) == 1)
        (sleeper,) = usage.descendants(parent.pid)
        assert usage.descendants_by_psutil(parent.pid) == [sleeper]
        assert usage.portable_use([parent.pid, sleeper]).processes == 2
        own = usage.use_of([parent.pid, sleeper], os.getpid())
        assert own.processes == 2
        assert own.memory_bytes > 0
        os.kill(sleeper, signal.SIGKILL)
    assert usage.portable_use([sleeper]).processes == 0


TRY = """
import socket
def answer(family):
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            if family == socket.AF_INET:
                probe.connect(("192.0.2.1", 9))
        return "open"
    except OSError as error:
        return error.strerror
"""


def test_the_filter_alone_shuts_out_the_network() -> None:
    script = TRY + (
        "from services.sandbox import seccomp\n"
        "laid = seccomp.restrict_system_calls([])\n"
        "print(laid, answer(socket.AF_INET), answer(socket.AF_UNIX), sep=';')"
    )
    assert said(script) in ("True;Permission denied;Permission denied", "False;open;open")


def test_the_namespace_alone_shuts_out_the_network() -> None:
    script = TRY + (
        "from services.sandbox import namespaces\n"
        "before = namespaces.own_network()\n"
        "left = namespaces.leave_network()\n"
        "print(left, namespaces.own_network() != before, answer(socket.AF_INET), sep=';')"
    )
    assert said(script).split(";")[:2] in (["True", "True"], ["False", "False"])
    assert said(script).split(";")[2] == ("Network is unreachable" if said(script).startswith("True") else "open")


def test_landlock_alone_keeps_to_the_folder(tmp_path: Path) -> None:
    own, other = tmp_path / "own", tmp_path / "other"
    own.mkdir()
    other.mkdir()
    (other / "secret").write_text("x")
    (other / "given").write_text("y")
    script = """
import sys
from pathlib import Path
from services.sandbox import landlock
own, other = map(Path, sys.argv[1:])
from services.sandbox.readable import own_program, system_paths
version = landlock.confine([*system_paths(), *own_program(), other / "given"], [own])
def works(action):
    try:
        action()
        return True
    except PermissionError:
        return False
print(
    version > 0,
    works(lambda: (own / "a").write_text("a")),
    works(lambda: (own / "a").rename(own / "b")),
    works(lambda: (other / "given").read_text()),
    works(lambda: (other / "secret").read_text()),
    works(lambda: (other / "given").write_text("z")),
    works(lambda: (own / "b").rename(other / "b")),
    works(lambda: list(other.iterdir())),
)
"""
    confined = "True True True True False False False False"
    assert said(script, str(own), str(other)) in (confined, "False True True True True True True True")
