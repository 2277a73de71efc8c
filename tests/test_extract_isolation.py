"""Whatever a file makes its parsing child do, the server goes on and nothing of the child stays."""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import psutil
import pytest

from services.content import Limits
from services.errors import DocatlasError, TooLarge, UnreadableDocument
from services.extract.supervisor import run_child
from services.extract.wire import pack_limits, unpack_part

LIMITS = Limits(wall_s=2.0, cpu_s=1.0, memory_bytes=512 * 1024**2)


def run(task: str, folder: Path, limits: Limits = LIMITS) -> list[dict[str, object]]:
    request = {"task": task, "limits": pack_limits(limits)}
    return list(run_child(request, limits=limits, folder=folder, module="tests.misbehaving_child"))


@pytest.mark.parametrize(
    ("task", "error", "code"),
    [
        ("spin", TooLarge, "parse_cpu_limit"),
        ("sleep", TooLarge, "parse_timeout"),
        ("allocate", TooLarge, "parse_memory_limit"),
        ("exit", UnreadableDocument, "parser_crashed"),
        ("segfault", UnreadableDocument, "parser_crashed"),
        ("flood", UnreadableDocument, "parser_output_invalid"),
        ("nonsense", UnreadableDocument, "parser_output_invalid"),
    ],
)
def test_a_child_that_misbehaves_ends_as_its_own_problem(
    task: str, error: type[DocatlasError], code: str, tmp_path: Path
) -> None:
    before = set(psutil.Process().children(recursive=True))
    limits = Limits(wall_s=20.0, cpu_s=1.0, memory_bytes=LIMITS.memory_bytes) if task == "spin" else LIMITS
    with pytest.raises(error) as caught:
        run(task, tmp_path, limits)
    assert caught.value.code == code
    assert set(psutil.Process().children(recursive=True)) == before


def test_prints_of_a_parser_do_not_reach_the_pipe(tmp_path: Path) -> None:
    assert run("print", tmp_path, Limits(wall_s=60.0, cpu_s=60.0)) == []


def test_a_callers_exception_ends_the_child_with_its_grandchildren(tmp_path: Path) -> None:
    request = {"task": "leave_grandchild", "limits": pack_limits(LIMITS)}
    messages = run_child(request, limits=Limits(wall_s=60.0), folder=tmp_path, module="tests.misbehaving_child")
    first = next(iter(messages))
    messages.close()
    assert_gone(int(first["pid"]), int(first["worker"]))


def test_a_child_ends_with_its_grandchildren_when_the_server_is_killed(tmp_path: Path) -> None:
    script = textwrap.dedent(
        """
        import sys
        from pathlib import Path
        from services.content import Limits
        from services.extract.supervisor import run_child
        from services.extract.wire import pack_limits

        request = {"task": "leave_grandchild", "limits": pack_limits(Limits())}
        for message in run_child(request, limits=Limits(), folder=Path(sys.argv[1]), module="tests.misbehaving_child"):
            print(message["pid"], message["worker"], flush=True)
        """
    )
    with subprocess.Popen(
        [sys.executable, "-c", script, str(tmp_path)], stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[1]
    ) as server:
        assert server.stdout is not None
        grandchild, worker = (int(number) for number in server.stdout.readline().split())
        os.kill(server.pid, signal.SIGKILL)
    assert_gone(grandchild, worker)


@pytest.mark.parametrize(
    "message",
    [
        {"type": "picture", "path": "../../etc/passwd"},
        {"type": "picture", "path": "/etc/passwd"},
        {"type": "page", "number": 0},
        {"type": "chunk", "text": "abc", "prefix": "", "ordinal": 0, "spans": []},
        {"type": "info", "title": 3},
        {"type": "elsewhere"},
        {},
    ],
)
def test_messages_that_a_child_may_not_send_are_refused(message: dict[str, object], tmp_path: Path) -> None:
    with pytest.raises((ValueError, KeyError, TypeError)):
        unpack_part(message, tmp_path)


def assert_gone(*pids: int) -> None:
    """Fails unless every process ends; what is killed may need a moment to be reaped."""
    for _ in range(200):
        left = [pid for pid in pids if psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE]
        if not left:
            return
        time.sleep(0.05)
    raise AssertionError(f"still running: {left}")


def test_a_picture_that_is_not_what_its_digest_says_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"planted")
    message: dict[str, object] = {
        "type": "picture",
        "path": "a.png",
        "page": 1,
        "sha256": hashlib.sha256(b"planted").hexdigest(),
        "media_type": "image/png",
        "width": 1,
        "height": 1,
        "box": None,
        "alt": "",
    }
    assert unpack_part(message, tmp_path)
    with pytest.raises(ValueError, match="digest"):
        unpack_part({**message, "sha256": "0" * 64}, tmp_path)
