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

ALLOW, KILL = 0x7FFF0000, 0x80000000
X86, ARM = ("x86_64", 0xC000003E), ("aarch64", 0xC00000B7)


def verdict(machine: str, audit: int, number: int, argument: int = 0) -> int:
    """What the filter answers for one system call: 0 for allowed, an errno, or -1 for the end of the process."""
    program = filter_program(machine, [1234])
    data = struct.pack("<IIQ6Q", number, audit, 0, argument & 0xFFFFFFFF, 0, 0, 0, 0, 0)
    at, loaded = 0, 0
    while True:
        code, if_true, if_false, constant = struct.unpack_from("<HBBI", program, 8 * at)
        at += 1
        match code:
            case 0x20:
                (loaded,) = struct.unpack_from("<I", data, constant)
            case 0x15:
                at += if_true if loaded == constant else if_false
            case 0x35:
                at += if_true if loaded >= constant else if_false
            case 0x45:
                at += if_true if loaded & constant else if_false
            case 0x06:
                return {ALLOW: 0, KILL: -1}.get(int(constant), int(constant) & 0xFFFF)


@pytest.mark.parametrize(
    ("machine", "number", "argument", "answer"),
    [
        (X86, 41, 1, 0),  # socket(AF_UNIX)
        (X86, 41, 2, errno.EACCES),
        (X86, 41, 10, errno.EACCES),
        (X86, 41, 16, errno.EACCES),
        (X86, 56, 0x01200011, 0),  # clone as fork does it
        (X86, 56, 0x10000011, errno.EPERM),
        (X86, 435, 0, errno.ENOSYS),
        (X86, 62, 99, 0),  # kill
        (X86, 62, 1234, errno.EPERM),
        (X86, 62, -1234, errno.EPERM),
        (X86, 62, -1, errno.EPERM),
        (X86, 62, 0, 0),
        (X86, 101, 0, errno.EPERM),  # ptrace
        (X86, 425, 0, errno.EPERM),  # io_uring_setup
        (X86, 0x40000000 + 41, 2, errno.ENOSYS),  # x32
        (X86, 0, 0, 0),
        (ARM, 198, 1, 0),
        (ARM, 198, 2, errno.EACCES),
        (ARM, 220, 0x10000011, errno.EPERM),
        (ARM, 129, 1234, errno.EPERM),
        (ARM, 117, 0, errno.EPERM),
        (ARM, 41, 2, errno.EPERM),  # pivot_root there
        (ARM, 63, 0, 0),
    ],
)
def test_the_filter_lets_through_what_parsing_needs(
    machine: tuple[str, int], number: int, argument: int, answer: int
) -> None:
    assert verdict(*machine, number, argument) == answer


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
        "laid = seccomp.forbid_network([])\n"
        "print(laid, answer(socket.AF_INET), answer(socket.AF_UNIX), sep=';')"
    )
    assert said(script) in ("True;Permission denied;open", "False;open;open")


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
version = landlock.confine([other / "given"], [own])
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
