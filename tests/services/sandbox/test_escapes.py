"""Code that has taken over a parser tries to get out, from inside the child, with namespaces and without."""

from __future__ import annotations

import ctypes
import json
import os
import pwd
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import pytest

from services.content import Issue
from services.sandbox.isolation import Isolation, probe_isolation
from services.sandbox.pool import ChildPool
from tests.support.escapes import ESCAPES
from tests.support.paths import ROOT
from tests.support.sandbox_cases import read

NEED_LANDLOCK = {
    "read the data folder", "list the data folder", "write to the data folder", "create in the data folder",
    "rename in the data folder", "truncate in the data folder", "link to a file of it", "follow a link to it",
    "rename a file of it", "walk up to it", "enter it", "reach it through the server's root",
    "reach it through the first process's root", "read the passwords of the system", "read settings in /etc",
    "read the home folder", "write to the temporary folder", "write beside the own folder", "write to the program",
    "write to /dev/shm", "read another's file in /dev/shm", "read the environment of the server",
    "read the memory map of the server", "read the memory file of a process", "list the server's descriptors",
    "read how the server was started",
}  # fmt: skip
"""What only Landlock or a namespace keeps from a parser: the filter of system calls sees no paths."""
NEED_SCOPE = {"signal a process of the same user"}
"""The filter names the processes that were there when it was laid; this one is among them."""


VICTIM = """
import time
from services.sandbox import namespaces
namespaces.drop_capabilities()  # as any other process of a user has none
print("ready", flush=True)
time.sleep(600)
"""


@pytest.fixture
def targets() -> Iterator[dict[str, Any]]:
    """What the escapes are after; the data folder lies among the program's own files where this user may put it."""
    with ExitStack() as stack:
        place = sys.prefix if os.access(sys.prefix, os.W_OK) else None
        data = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="docatlas-data-", dir=place)))
        secret = data / "secret"
        secret.write_text("secret")
        with suppress(OSError):  # not every file system has attributes
            os.setxattr(secret, "user.note", b"x")
        short = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="s-", dir="/tmp")))
        found: dict[str, Any] = {"data": str(data), "secret": str(secret), "server": os.getpid()}
        for name, kind in (("unix", socket.SOCK_STREAM), ("datagrams", socket.SOCK_DGRAM)):
            local = stack.enter_context(socket.socket(socket.AF_UNIX, kind))
            local.bind(str(short / name))
            found[name] = str(short / name)
            if kind == socket.SOCK_STREAM:
                local.listen()
        abstract = stack.enter_context(socket.socket(socket.AF_UNIX))
        found["abstract"] = f"docatlas-{os.getpid()}"
        abstract.bind("\0" + found["abstract"])
        abstract.listen()
        for name, family, host in (("tcp", socket.AF_INET, "127.0.0.1"), ("tcp6", socket.AF_INET6, "::1")):
            server = stack.enter_context(socket.socket(family))
            try:
                server.bind((host, 0))
            except OSError:
                found[name] = 9
                continue
            server.listen()
            found[name] = server.getsockname()[1]
        victim = stack.enter_context(
            subprocess.Popen([sys.executable, "-c", VICTIM], process_group=0, cwd=ROOT, stdout=subprocess.PIPE)
        )
        stack.callback(victim.kill)
        assert victim.stdout is not None
        assert victim.stdout.readline() == b"ready\n"
        shared = Path(f"/dev/shm/docatlas-{os.getpid()}")
        shared.write_text("of another process")
        stack.callback(shared.unlink)
        libc = ctypes.CDLL(None, use_errno=True)
        segment = libc.shmget(0, ctypes.c_size_t(4096), 0o600)
        assert segment >= 0
        stack.callback(libc.shmctl, segment, 0, None)
        yield found | {
            "victim": victim.pid,
            "shared": str(shared),
            "segment": segment,
            "user": pwd.getpwuid(os.getuid()).pw_name,
            "program": str(ROOT / "services"),
        }


def outcomes(targets: dict[str, Any], folder: Path, *, start: str, namespaces: bool) -> dict[str, str]:
    """What came of each escape, by its name."""
    pool = ChildPool(
        module="tests.support.misbehaving_child",
        start="fork" if start == "fork" else "spawn",
        hidden=[Path(targets["data"])],
        namespaces=namespaces,
    )
    try:
        assert pool.warm_up(wait_s=60.0) == (start == "fork")
        pieces = read(pool, folder, "escape " + json.dumps(targets))
    finally:
        pool.close()
    return {piece.message: piece.code for piece in pieces if isinstance(piece, Issue)}


def walls(namespaces: bool) -> Isolation:
    found = probe_isolation(namespaces=namespaces)
    assert found is not None
    return found


@pytest.mark.parametrize("namespaces", [True, False])
@pytest.mark.parametrize("start", ["fork", "spawn"])
def test_no_escape_succeeds_where_the_walls_are_there(
    start: str, namespaces: bool, targets: dict[str, Any], tmp_path: Path
) -> None:
    found = outcomes(targets, tmp_path, start=start, namespaces=namespaces)
    there = walls(namespaces)
    expected: set[str] = set()
    if not there.landlock and not there.mount_namespace:
        expected = NEED_LANDLOCK | NEED_SCOPE
    elif not there.mount_namespace and Path(targets["data"]).is_relative_to(ROOT):
        # Python lists the folder of a checkout to find modules, and a rule of Landlock holds for all below it: names in
        # a data folder there are seen, its files stay out of reach. See docs/decisions/0015-sandbox-walls.md.
        expected = {"list the data folder"}
    assert len(found) == len(ESCAPES) >= 60
    assert {name: word for name, word in found.items() if word.startswith("open") and name not in expected} == {}
    assert there.seccomp


CONTROL = """
import json, sys
from services.sandbox import namespaces
from tests.support.escapes import attempts
namespaces.drop_capabilities()
print(json.dumps(list(attempts(json.loads(sys.argv[1])))))
"""


def test_most_escapes_succeed_without_the_sandbox(targets: dict[str, Any], tmp_path: Path) -> None:
    """So that a try that no system would ever answer is not taken for a wall."""
    done = subprocess.run(
        [sys.executable, "-c", CONTROL, json.dumps(targets)],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=True,
    )
    found = dict(json.loads(done.stdout))
    succeeded = {name for name, word in found.items() if word.startswith("open")}
    print(
        {n: w for n, w in found.items() if n not in succeeded},
        {n: w for n, w in found.items() if w.startswith("open, ")},
    )
    assert len(succeeded) >= 60
