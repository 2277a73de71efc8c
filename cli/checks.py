"""All checks of the project in one command: linter, format, types, layers, tests."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]

CHECKS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("ruff check", ("-m", "ruff", "check", ".")),
    ("ruff format", ("-m", "ruff", "format", "--check", ".")),
    ("mypy --strict", ("-m", "mypy", "--strict")),
    ("import-linter", ("-c", "from importlinter.cli import lint_imports_command; lint_imports_command()")),
)
"""Name and arguments to Python. Their output is shown only where they fail."""
BESIDE_THE_TESTS = frozenset({"mypy --strict"})
"""The checks that take longer than a second."""
FAST = "--fast"
MOST_WORKERS = 8
"""Each takes half a gigabyte with a model in it."""


def run_checks(arguments: Sequence[str]) -> int:
    """Runs every check and returns 0 if all pass.

    `--fast` alone leaves out the tests that need Postgres, models, other programs or processes. With other `arguments`
    only pytest runs, in one process, and gets them.
    """
    if any(argument != FAST for argument in arguments):
        return _pytest(arguments, os.environ)
    failed = [name for name, command in CHECKS if name not in BESIDE_THE_TESTS and not _passes(name, command)]
    with ThreadPoolExecutor(1) as beside:
        running = {name: beside.submit(_passes, name, command) for name, command in CHECKS if name in BESIDE_THE_TESTS}
        tests = _pytest([*_workers(), *arguments], _environment())
        failed += [name for name, passes in running.items() if not passes.result()]
    if failed:
        print(f"failed: {', '.join(failed)}", flush=True)
    return tests or (1 if failed else 0)


def _workers() -> list[str]:
    """Arguments that share the tests, file by file, among one process more than there are cores: many tests wait."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return ["-n", str(min(cores + 1, MOST_WORKERS)), "--dist", "loadfile", "--no-loadscope-reorder"]


def _environment() -> Mapping[str, str]:
    """The caller's, but every process computes in one thread, and compiled modules are kept for the next one."""
    threads = dict.fromkeys(("OMP_NUM_THREADS", "OMP_THREAD_LIMIT", "OPENBLAS_NUM_THREADS"), "1")
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    return {**threads, **kept}


def _pytest(arguments: Sequence[str], environment: Mapping[str, str]) -> int:
    print(f"pytest {' '.join(arguments)}".rstrip(), flush=True)
    command = [sys.executable, "-m", "pytest", *arguments]
    return subprocess.run(command, cwd=ROOT, env=environment, check=False).returncode


def _passes(name: str, command: Sequence[str]) -> bool:
    started = time.monotonic()
    done = subprocess.run(
        [sys.executable, *command], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
    )
    passed = done.returncode == 0
    print(f"{name:<14} {'passed' if passed else 'FAILED'} in {time.monotonic() - started:.1f} s", flush=True)
    if not passed:
        print(done.stdout, flush=True)
    return passed
