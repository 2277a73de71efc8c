"""All checks of the project in one command: linter, format, types, layers, tests."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]

CHECKS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("ruff check", ("-m", "ruff", "check", ".")),
    ("ruff format", ("-m", "ruff", "format", "--check", ".")),
    ("mypy --strict", ("-m", "mypy", "--strict")),
    ("import-linter", ("-c", "from importlinter.cli import lint_imports_command; lint_imports_command()")),
)
"""Name and arguments to Python, cheapest first. Their output is shown only where they fail."""


def run_checks(arguments: Sequence[str]) -> int:
    """Runs every check, pytest last, and returns 0 if all pass.

    With `arguments` only pytest runs, and gets them.
    """
    failed = [] if arguments else [name for name, command in CHECKS if not _passes(name, command)]
    if failed:
        print(f"failed: {', '.join(failed)}", flush=True)
    print(f"pytest {' '.join(arguments)}".rstrip(), flush=True)
    tests = subprocess.run([sys.executable, "-m", "pytest", *arguments], cwd=ROOT, check=False).returncode
    return tests or (1 if failed else 0)


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
