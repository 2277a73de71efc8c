"""The template that forks children: it comes, it is lost, it is replaced, and no document notices."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import pytest

from services.content import Issue, Page
from services.errors import DocatlasError
from services.sandbox import pool as pool_module
from services.sandbox.extract import extract
from services.sandbox.folders import private_folder, remove, sweep_folders
from services.sandbox.isolation import probe_isolation
from services.sandbox.pool import ChildPool
from tests.support.sandbox_cases import assert_gone, guard_of, outer_pids, processes, read, request_for
from tests.support.waiting import wait_for


@pytest.fixture
def pool() -> Iterator[ChildPool]:
    made = ChildPool(module="tests.support.misbehaving_child", start="fork")
    assert made.warm_up(wait_s=60.0)
    yield made
    made.close()


def test_documents_are_read_before_the_template_is_ready(tmp_path: Path) -> None:
    made = ChildPool(module="tests.support.misbehaving_child", start="fork")
    for _ in range(2):
        assert isinstance(read_without_count(made, tmp_path), Page)
    assert made.warm_up(wait_s=60.0)
    template = made.template_pid
    assert template is not None
    assert isinstance(read(made, tmp_path, "fine")[-1], Page)
    made.close()
    assert not psutil.pid_exists(template)


def read_without_count(pool: ChildPool, folder: Path, word: str = "fine") -> object:
    file = folder / "file.txt"
    file.write_text(word)
    return list(extract(request_for(file), scratch=folder, pool=pool))[-1]


def test_a_document_goes_on_when_the_template_is_killed_and_the_next_one_is_fine(
    pool: ChildPool, tmp_path: Path
) -> None:
    first = pool.template_pid
    assert first is not None
    file = tmp_path / "file.txt"
    file.write_text("leave_grandchild")
    pieces = extract(request_for(file), scratch=tmp_path, pool=pool)
    pids = outer_pids(next(piece.message for piece in pieces if isinstance(piece, Issue)))
    os.kill(first, signal.SIGKILL)
    assert isinstance(next(pieces), Page)
    file.write_text("fine")
    assert isinstance(list(extract(request_for(file), scratch=tmp_path, pool=pool))[-1], Page)
    assert all(psutil.pid_exists(int(pid)) for pid in pids)
    pieces.close()
    assert_gone(*pids)
    assert pool.warm_up(wait_s=60.0)
    assert pool.template_pid not in (None, first)


def test_a_killed_worker_costs_only_its_own_document(pool: ChildPool, tmp_path: Path) -> None:
    file = tmp_path / "file.txt"
    file.write_text("leave_grandchild")
    pieces = extract(request_for(file), scratch=tmp_path, pool=pool)
    grandchild, worker = outer_pids(next(piece.message for piece in pieces if isinstance(piece, Issue)))
    os.kill(int(worker), signal.SIGKILL)
    with pytest.raises(DocatlasError) as caught:
        list(pieces)
    assert caught.value.code == "parser_crashed"
    assert_gone(grandchild, worker)
    assert isinstance(read(pool, tmp_path, "fine")[-1], Page)


def test_a_killed_guard_takes_its_worker_with_it(pool: ChildPool, tmp_path: Path) -> None:
    file = tmp_path / "file.txt"
    file.write_text("leave_grandchild")
    pieces = extract(request_for(file), scratch=tmp_path, pool=pool)
    grandchild, worker = outer_pids(next(piece.message for piece in pieces if isinstance(piece, Issue)))
    guard_of(worker).kill()
    with pytest.raises(DocatlasError) as caught:
        list(pieces)
    assert caught.value.code == "parser_crashed"
    assert_gone(grandchild, worker)


def test_many_threads_use_the_pool_at_once(pool: ChildPool, tmp_path: Path) -> None:
    def one(number: int) -> object:
        folder = tmp_path / str(number)
        folder.mkdir()
        return read_without_count(pool, folder, "fine" if number % 3 else "leave_unremovable_folder")

    before = processes()
    with ThreadPoolExecutor(16) as executor:
        assert all(isinstance(last, Page) for last in executor.map(one, range(48)))
    wait_for(lambda: processes() <= before)


def test_a_template_is_replaced_after_its_share_of_documents(
    pool: ChildPool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pool_module, "RECYCLE_AFTER_DOCUMENTS", 2)
    first = pool.template_pid
    assert first is not None

    def replaced() -> bool:
        assert isinstance(read_without_count(pool, tmp_path), Page)
        return pool.template_pid != first

    wait_for(replaced)
    wait_for(lambda: not psutil.pid_exists(first))


def test_a_module_that_cannot_be_loaded_leaves_no_template_behind() -> None:
    before = processes()
    made = ChildPool(module="tests.no_such_module", start="fork")
    assert not made.warm_up(wait_s=2.0)
    made.close()
    wait_for(lambda: processes() <= before)


def test_folders_of_dead_processes_are_swept_and_those_of_living_ones_stay(tmp_path: Path) -> None:
    (tmp_path / "parse-dead" / "pictures").mkdir(parents=True)
    (tmp_path / "upload-1").mkdir()
    with private_folder(tmp_path) as folder:
        assert sweep_folders(tmp_path) == 1
        assert sorted(path.name for path in tmp_path.iterdir()) == sorted([folder.name, "upload-1"])
    assert [path.name for path in tmp_path.iterdir()] == ["upload-1"]


def test_links_in_a_folder_are_removed_and_not_followed(tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    kept.mkdir()
    (kept / "file").touch()
    folder = tmp_path / "parse-x"
    (folder / "inner" / "inner").mkdir(parents=True)
    (folder / "link").symlink_to(kept)
    (folder / "inner" / "inner" / "link").symlink_to(kept)
    remove(folder)
    assert not folder.exists()
    assert (kept / "file").exists()


SWAP = """
import os, sys
folder, kept = sys.argv[1:]
os.chdir(folder)
print("ready", flush=True)
while os.path.isdir(folder):
    try:
        os.mkdir("name")
        os.rmdir("name")
        os.symlink(kept, "name")
        os.unlink("name")
    except OSError:
        pass
"""


def test_a_folder_that_becomes_a_link_while_it_is_removed_costs_no_other_file(tmp_path: Path) -> None:
    """A process of the child still runs, and puts a folder and a link in each other's place as fast as it can."""
    kept, folder = tmp_path / "kept", tmp_path / "parse-x"
    kept.mkdir(mode=0o755)
    (kept / "file").write_text("kept")
    for _ in range(20):
        (folder / "child").mkdir(parents=True)
        command = [sys.executable, "-c", SWAP, str(folder / "child"), str(kept)]
        with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
            assert process.stdout is not None
            assert process.stdout.readline() == b"ready\n"
            remove(folder)
            process.kill()
        assert (kept / "file").read_text() == "kept"
        assert kept.stat().st_mode & 0o777 == 0o755
        remove(folder)
        assert not folder.exists()


@pytest.mark.parametrize("namespaces", [True, False])
def test_a_probe_says_what_is_in_force(namespaces: bool) -> None:
    found = probe_isolation(namespaces=namespaces)
    assert found is not None
    assert bool(found.network) == (found.network_namespace or found.seccomp)
    assert ("network namespace" in found.missing) == (not found.network_namespace)
    if not namespaces:
        assert {"network namespace", "process namespace", "mount namespace"} <= set(found.missing)
    if found.seccomp and found.landlock:
        assert found.escapes == []
