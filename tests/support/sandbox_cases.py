"""What the tests of the sandbox share: files read by a parsing child, and the processes that it leaves."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path

import psutil

from services.content import Limits, Upload
from services.formats.registry import Format
from services.options import Options
from services.sandbox.extract import ExtractRequest, Piece, extract
from services.sandbox.pool import ChildPool
from services.sandbox.received_files import ReceivedFiles, receiving
from tests.support.waiting import wait_for

LIMITS = Limits(wall_s=1.5, cpu_s=60, memory_bytes=384 * 1024**2, max_output_bytes=32 * 1024**2, max_processes=32)


PATIENT = replace(LIMITS, wall_s=60.0)


def read(pool: ChildPool, folder: Path, word: str, limits: Limits = PATIENT) -> list[Piece]:
    """What a file with that word in it gives; fails when a folder or a process of it stays."""
    file = folder / "file.txt"
    file.write_text(word)
    before = processes()
    try:
        with closing(extract(request_for(file, limits), scratch=folder, pool=pool)) as pieces:
            return list(pieces)
    finally:
        assert [path for path in folder.iterdir() if path != file] == []
        wait_for(lambda: processes() <= before)


def request_for(file: Path, limits: Limits = PATIENT) -> ExtractRequest:
    return ExtractRequest(Upload(file, file.name, "", "", 1), Format.TEXT, Options(), limits, chunk=False)


def processes() -> set[int]:
    return {child.pid for child in psutil.Process().children(recursive=True)}


def outer_pids(said: str) -> list[str]:
    """The numbers by which this process knows those below it that call themselves by the numbers in `said`."""
    found = {numbers[-1]: numbers[0] for pid in processes() if (numbers := _numbers_of(pid))}
    return [found.get(own, own) for own in said.split()]


def guard_of(worker: str) -> psutil.Process:
    """The process that watches over a worker: its parent, or the parent of the one that leads its namespace."""
    parents = psutil.Process(int(worker)).parents()
    return parents[1] if len(_numbers_of(int(worker))) > 1 else parents[0]


def _numbers_of(pid: int) -> list[str]:
    """The numbers of a process in this namespace and in each one below it that it is in; none where it has ended."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return []
    return next((line.split()[1:] for line in status.splitlines() if line.startswith("NSpid:")), [])


def assert_gone(*pids: str) -> None:
    """Fails unless every process ends; what is killed may need a moment to be reaped."""

    def left() -> list[str]:
        return [pid for pid in pids if psutil.pid_exists(int(pid)) and not is_zombie(int(pid))]

    wait_for(lambda: not left(), tries=200)


def is_zombie(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


@contextmanager
def files_from(folder: Path, *, max_bytes: int = 1_000_000) -> Iterator[ReceivedFiles]:
    """The files in `folder`, received beside it."""
    target = folder.with_name(f"{folder.name}-received")
    target.mkdir()
    with receiving(folder, target, max_bytes=max_bytes) as files:
        yield files
