"""What a process and all that it started use: memory, CPU time, processes and room on disk. The guard's eyes.

The guard imports this and nothing else of the program, so the imports stay few.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

MEMORY, CPU, OUTPUT, PROCESSES = "memory", "cpu", "output", "processes"
"""The limits that a guard watches, by the words that it reports."""

EVERY_S = 0.05 if sys.platform == "linux" else 0.5
"""Seconds between two looks. Source: measured, a look at one process costs 80 us of CPU, so 0.2 percent of a core; a
process that touches fresh memory as fast as numpy can (8 GB a second) gets 400 MB beyond its limit before
it is seen. Elsewhere than on Linux psutil goes through all processes for it, so it is done less often."""

_FOLDER_SHARE = 20
"""The folder is walked no oftener than this many times as long as a walk takes."""
_FOLDER_EVERY_S = 0.5
_TICKS_PER_S = os.sysconf("SC_CLK_TCK") if hasattr(os, "sysconf") else 100


@dataclass(frozen=True, slots=True)
class Use:
    """What some processes use together."""

    memory_bytes: int
    """Resident memory that belongs to no file: what they allocated and touched. Elsewhere than on Linux all of it."""
    cpu_s: float
    """User and system time, with that of children that have ended and were waited for."""
    processes: int


def descendants(pid: int) -> list[int]:
    """The living processes below `pid`, parents before children."""
    if sys.platform != "linux":
        return descendants_by_psutil(pid)
    found: list[int] = []
    todo = [pid]
    while todo:
        parent = todo.pop()
        try:
            threads = os.listdir(f"/proc/{parent}/task")
        except OSError:
            continue
        for thread in threads:
            try:
                with open(f"/proc/{parent}/task/{thread}/children", "rb") as file:
                    children = [int(word) for word in file.read().split()]
            except FileNotFoundError:
                if not os.path.exists("/proc/self/task/" + str(os.getpid()) + "/children"):
                    return descendants_by_psutil(pid)  # a kernel without CONFIG_PROC_CHILDREN
                continue
            except OSError:
                continue
            found += children
            todo += children
    return found


def descendants_by_psutil(pid: int) -> list[int]:
    """The same on systems without /proc."""
    import psutil

    try:
        return [child.pid for child in psutil.Process(pid).children(recursive=True)]
    except psutil.Error:
        return []


def use_of(pids: list[int], guard: int) -> Use:
    """What the processes use; those that have ended meanwhile count nothing.

    What a process shares with the `guard` since it was forked is counted once.
    """
    if sys.platform == "linux":
        return _linux_use(pids, guard)
    return portable_use(pids)


def portable_use(pids: list[int]) -> Use:
    """What the processes use where there is no /proc: all resident memory of each."""
    memory, cpu, alive = 0, 0.0, 0
    for pid in pids:
        try:
            one = _use_by_psutil(pid)
        except ProcessLookupError:
            continue
        memory, cpu, alive = memory + one[0], cpu + one[1], alive + 1
    return Use(memory, cpu, alive)


def _linux_use(pids: list[int], guard: int) -> Use:
    shared, name = _own_memory(guard), _command(guard)
    memory, ticks, alive = shared, 0, 0
    for pid in pids:
        try:
            with open(f"/proc/{pid}/stat", "rb") as file:
                fields = file.read().rpartition(b")")[2].split()
            own = _own_memory(pid)
            is_forked = _command(pid) == name
        except OSError:
            continue
        memory += max(0, own - shared) if is_forked else own
        ticks += sum(int(field) for field in fields[11:15])  # utime, stime, cutime, cstime; proc_pid_stat(5)
        alive += 1
    return Use(memory, ticks / _TICKS_PER_S, alive)


def _own_memory(pid: int) -> int:
    """Bytes of resident memory that no file backs."""
    memory = 0
    with open(f"/proc/{pid}/status", "rb") as file:
        for line in file:
            if line.startswith((b"RssAnon:", b"RssShmem:")):
                memory += 1024 * int(line.split()[1])
    return memory


def _command(pid: int) -> bytes:
    """The command line, which only a new program changes. `proc_pid_cmdline(5)`: empty for a process that has ended."""
    with open(f"/proc/{pid}/cmdline", "rb") as file:
        return file.read(4096)


def _use_by_psutil(pid: int) -> tuple[int, float]:
    import psutil

    try:
        process = psutil.Process(pid)
        times = process.cpu_times()
        cpu = times.user + times.system
        return process.memory_info().rss, cpu + getattr(times, "children_user", 0) + getattr(
            times, "children_system", 0
        )
    except psutil.Error as error:
        raise ProcessLookupError(pid) from error


class Watch:
    """Compares what the processes below `guard` use with the limits of one document."""

    def __init__(self, guard: int, folder: str, limits: Mapping[str, Any], *, own_processes: int = 0) -> None:
        """`limits` are the fields of services.content.Limits; `own_processes` of those below are not the document's."""
        self._guard = guard
        self._folder = folder
        self._limits = limits
        self._own_processes = own_processes
        self._next_walk = 0.0
        self.peak_bytes = 0

    def violation(self) -> str | None:
        """The word for the limit that is passed at this moment, or None."""
        use = use_of(descendants(self._guard), self._guard)
        self.peak_bytes = max(self.peak_bytes, use.memory_bytes)
        if use.processes - self._own_processes > self._limits["max_processes"]:
            return PROCESSES
        if use.memory_bytes > self._limits["memory_bytes"]:
            return MEMORY
        if use.cpu_s > self._limits["cpu_s"]:
            return CPU
        if self._folder_bytes_due() > self._limits["max_output_bytes"]:
            return OUTPUT
        return None

    def _folder_bytes_due(self) -> int:
        """Bytes in the folder, or 0 while it is too early for another look."""
        start = time.monotonic()
        if start < self._next_walk:
            return 0
        size = folder_bytes(self._folder)
        self._next_walk = start + max(_FOLDER_EVERY_S, _FOLDER_SHARE * (time.monotonic() - start))
        return size


def folder_bytes(folder: str) -> int:
    """Bytes on disk of all files in the folder, links not followed; a file that is open and has no name is not seen."""
    size = 0
    todo = [folder]
    while todo:
        try:
            with os.scandir(todo.pop()) as entries:
                for entry in entries:
                    try:
                        if entry.is_dir(follow_symlinks=False):
                            todo.append(entry.path)
                        else:
                            size += 512 * entry.stat(follow_symlinks=False).st_blocks
                    except OSError:
                        continue
        except OSError:
            continue
    return size
