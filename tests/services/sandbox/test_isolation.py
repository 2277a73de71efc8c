"""Whatever a file makes its parsing child do, the server goes on and nothing of the child stays."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from services.content import Issue, Page
from services.errors import DocatlasError, TooLarge, UnreadableDocument
from services.sandbox.extract import Piece, extract
from services.sandbox.folders import sweep_folders
from services.sandbox.pool import ChildPool
from services.sandbox.wire import unpack_part
from tests.support.paths import ROOT
from tests.support.sandbox_cases import LIMITS, PATIENT, assert_gone, files_from, outer_pids, read, request_for


@pytest.fixture(scope="module", params=["fork", "spawn"])
def pool(request: pytest.FixtureRequest) -> Iterator[ChildPool]:
    """Pools whose reader of plain text does what the file says."""
    made = ChildPool(module="tests.support.misbehaving_child", start=request.param)
    assert made.warm_up(wait_s=60.0) == (request.param == "fork")
    yield made
    made.close()


def reported(pieces: list[Piece]) -> list[str]:
    return [piece.message for piece in pieces if isinstance(piece, Issue)]


@pytest.mark.parametrize(
    ("word", "error", "code"),
    [
        ("spin", TooLarge, "parse_cpu_limit"),
        ("spin_in_children", TooLarge, "parse_cpu_limit"),
        ("sleep", TooLarge, "parse_timeout"),
        ("allocate", TooLarge, "parse_memory_limit"),
        ("allocate_in_children", TooLarge, "parse_memory_limit"),
        ("reserve", TooLarge, "parse_memory_limit"),
        ("leave", UnreadableDocument, "parser_crashed"),
        ("segfault", UnreadableDocument, "parser_crashed"),
        ("abort", UnreadableDocument, "parser_crashed"),
        ("complain_a_gigabyte", TooLarge, "parse_output_limit"),
        ("write_a_big_file", TooLarge, "parse_output_limit"),
        ("write_many_files", TooLarge, "parse_output_limit"),
        ("send_a_gigabyte", TooLarge, "parse_output_limit"),
        ("open_many_files", TooLarge, "parse_open_files_limit"),
        ("fork_bomb", TooLarge, "parse_process_limit"),
        ("recurse", UnreadableDocument, "nested_too_deep"),
        ("flood", UnreadableDocument, "parser_output_invalid"),
        ("nonsense", UnreadableDocument, "parser_output_invalid"),
        ("nested_nonsense", UnreadableDocument, "parser_output_invalid"),
    ],
)
def test_an_extractor_that_misbehaves_ends_as_its_own_problem_and_the_next_document_is_fine(
    word: str, error: type[DocatlasError], code: str, pool: ChildPool, tmp_path: Path
) -> None:
    limits = LIMITS if word == "sleep" else replace(PATIENT, cpu_s=1.0) if word.startswith("spin") else PATIENT
    with pytest.raises(error) as caught:
        read(pool, tmp_path, word, limits)
    assert caught.value.code == code
    assert [type(piece) for piece in read(pool, tmp_path, "fine")][-1] is Page


PAGE = {
    "type": "page",
    "number": 1,
    "text": "here",
    "width": 1.0,
    "height": 1.0,
    "source": "native",
    "reason": "",
    "rotation": 0,
    "confidence": 1.0,
    "languages": [],
    "elapsed_ms": 1,
    "layout": {},
}


@pytest.mark.parametrize(
    "message",
    [
        {**PAGE, "layout": []},
        {**PAGE, "layout": {"blocks": ["x"]}},
        {**PAGE, "layout": {"words": [["\ud800", 0, 0, 1, 1, 0, 4, None]]}},
        {**PAGE, "number": 2**63},
        {**PAGE, "rotation": float("inf")},
        {**PAGE, "width": 10**400},
        {"type": "info", "title": "", "author": "", "language": "", "page_count": 10**30},
        {"type": "problem"},
        {"type": "problem", "kind": [], "code": 1, "detail": {}},
    ],
    ids=str,
)
def test_a_message_that_no_parser_sends_is_the_files_problem(
    message: dict[str, object], pool: ChildPool, tmp_path: Path
) -> None:
    with pytest.raises(UnreadableDocument) as caught:
        read(pool, tmp_path, "send " + json.dumps(message))
    assert caught.value.code == "parser_output_invalid"


def test_prints_of_a_parser_do_not_reach_the_pipe(pool: ChildPool, tmp_path: Path) -> None:
    assert isinstance(read(pool, tmp_path, "print_a_gigabyte")[-1], Page)


def test_the_guard_cannot_be_killed_by_the_worker(pool: ChildPool, tmp_path: Path) -> None:
    with pytest.raises(UnreadableDocument) as caught:
        read(pool, tmp_path, "kill_guard")
    assert caught.value.code == "parser_failed"


def test_a_folder_that_resists_is_removed(pool: ChildPool, tmp_path: Path) -> None:
    assert isinstance(read(pool, tmp_path, "leave_unremovable_folder")[-1], Page)


def test_no_socket_can_be_made(pool: ChildPool, tmp_path: Path) -> None:
    answers = dict(line.split(" ", 1) for line in reported(read(pool, tmp_path, "try_network")))
    assert "AF_UNIX" in answers
    assert set(answers.values()) == {"Permission denied"}
    assert reported(read(pool, tmp_path, "try_network_in_a_program")) == ["exit 1"]


def test_nothing_is_written_outside_of_the_private_folder(pool: ChildPool, tmp_path: Path) -> None:
    *tries, home = reported(read(pool, tmp_path, "try_disk"))
    assert len(tries) == 2
    assert not any(line.endswith(" written") for line in tries)
    assert not Path("/tmp/elsewhere").exists()
    assert home.startswith(f"home {tmp_path}/parse-")


@pytest.mark.parametrize("word", ["leave_grandchild", "leave_daemon"])
def test_a_callers_exception_ends_the_child_with_its_grandchildren(word: str, pool: ChildPool, tmp_path: Path) -> None:
    file = tmp_path / "file.txt"
    file.write_text(word)
    with closing(extract(request_for(file), scratch=tmp_path, pool=pool)) as pieces:
        pids = outer_pids(next(piece.message for piece in pieces if isinstance(piece, Issue)))
        assert all(psutil.pid_exists(int(pid)) for pid in pids[:1])
    assert_gone(*pids)


@pytest.mark.parametrize("start", ["fork", "spawn"])
@pytest.mark.parametrize("word", ["leave_grandchild", "leave_daemon"])
def test_a_child_ends_with_its_grandchildren_when_the_server_is_killed(word: str, start: str, tmp_path: Path) -> None:
    script = textwrap.dedent(
        """
        import sys
        from pathlib import Path
        from services.content import Issue
        from services.sandbox.pool import ChildPool
        from services.sandbox.extract import extract
        from tests.support.sandbox_cases import outer_pids, request_for

        file = Path(sys.argv[1])
        pool = ChildPool(module="tests.support.misbehaving_child", start=sys.argv[2])
        pool.warm_up(60 if sys.argv[2] == "fork" else 0)
        for piece in extract(request_for(file), scratch=file.parent, pool=pool):
            if isinstance(piece, Issue):
                print(*outer_pids(piece.message), pool.template_pid or "", flush=True)
        """
    )
    file = tmp_path / "file.txt"
    file.write_text(word)
    with subprocess.Popen(
        [sys.executable, "-c", script, str(file), start], stdout=subprocess.PIPE, text=True, cwd=ROOT
    ) as server:
        assert server.stdout is not None
        pids = server.stdout.readline().split()
        assert len(pids) == (3 if start == "fork" else 2)
        os.kill(server.pid, signal.SIGKILL)
    assert_gone(*pids)
    left = [path.name for path in tmp_path.iterdir() if path != file]
    assert len(left) == 1
    assert sweep_folders(tmp_path) == 1
    assert list(tmp_path.iterdir()) == [file]


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
    with files_from(tmp_path) as files, pytest.raises((ValueError, KeyError, TypeError)):
        unpack_part(message, files)
