"""Writes requirements.lock and requirements-dev.lock from what is installed in this environment.

`.venv/bin/python .ci/lock.py`, after installing newer versions into `.venv` and passing `./docatlas test`. The locks
hold the closure of pyproject.toml's dependencies as installed here, one `name==version` a line: no hashes and no local
versions, so that torch may be the build for CUDA or the one for CPUs, and nothing that only torch's CUDA build needs.
"""

from __future__ import annotations

import tomllib
from importlib.metadata import distribution
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[1]


def main() -> None:
    """Writes both files."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    needed = _closure(project["dependencies"])
    tools = {
        name: line for name, line in _closure(project["optional-dependencies"]["dev"]).items() if name not in needed
    }
    _write("requirements.lock", "What the product needs.", needed)
    _write("requirements-dev.lock", "What the tests and linters need beside requirements.lock.", tools)


def _closure(requirements: list[str]) -> dict[str, str]:
    """Name to lock line of everything that `requirements` bring in on this platform; markers of the roots are kept."""
    lines: dict[str, str] = {}
    seen: set[tuple[str, frozenset[str]]] = set()  # by extras too: `httpx` may come first, and `httpx[http2]` later
    todo = [(Requirement(text), True) for text in requirements]
    while todo:
        requirement, is_root = todo.pop()
        name = canonicalize_name(requirement.name)
        if requirement.marker is not None and not any(
            requirement.marker.evaluate({"extra": extra}) for extra in ("", *requirement.extras)
        ):
            continue
        if (name, frozenset(requirement.extras)) in seen:
            continue
        seen.add((name, frozenset(requirement.extras)))
        found = distribution(name)
        marker = f" ; {requirement.marker}" if is_root and requirement.marker is not None else ""
        lines.setdefault(name, f"{name}=={found.version.partition('+')[0]}{marker}")
        for text in found.requires or ():
            inner = Requirement(text)
            wanted = ("", *requirement.extras)
            if inner.marker is None or any(inner.marker.evaluate({"extra": extra}) for extra in wanted):
                inner.marker = None
                todo.append((inner, False))
    return lines


def _write(name: str, purpose: str, lines: dict[str, str]) -> None:
    head = f"# {purpose} Written by .ci/lock.py; do not edit by hand.\n"
    (ROOT / name).write_text(head + "".join(f"{lines[key]}\n" for key in sorted(lines)), encoding="utf-8")


if __name__ == "__main__":
    main()
