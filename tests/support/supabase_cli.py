"""The real Supabase command line, from its npm package; fetched once into the user's cache folder."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
from pathlib import Path

import platformdirs
from filelock import FileLock

VERSION = "3.1.0"
"""The package's binary comes as an optional dependency of npm's: no script of it runs, nothing else is downloaded."""


def supabase_program(cache: Path | None = None) -> Path:
    """The program. Raises RuntimeError where it is not there and npm is missing or fails."""
    machine = {"x86_64": "x64", "aarch64": "arm64", "arm64": "arm64"}[platform.machine()]
    package = f"cli-{platform.system().lower()}-{machine}"
    folder = (cache or Path(platformdirs.user_cache_dir("docatlas")) / "tests") / f"supabase-{VERSION}"
    program = folder / "node_modules" / "@supabase" / package / "bin" / "supabase"
    folder.mkdir(parents=True, exist_ok=True)
    with FileLock(folder / ".lock"):
        if not program.exists():
            _fetch(folder)
    return program


def _fetch(folder: Path) -> None:
    npm = shutil.which("npm")
    if npm is None:
        raise RuntimeError("the tests of the Supabase command line need npm: install Node.js")
    command = [npm, "install", "--prefix", str(folder), "--no-audit", "--no-fund", "--ignore-scripts"]
    done = subprocess.run([*command, f"supabase@{VERSION}"], capture_output=True, text=True, cwd=folder)
    if done.returncode != 0:
        raise RuntimeError(f"npm could not install supabase {VERSION}: {done.stderr[-1000:]}")


def run_supabase(program: Path, project: Path, home: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """What the program does in the folder that holds `supabase/`; without telemetry, its state in `home`."""
    environment = {
        "PATH": os.defpath,
        "HOME": str(home),
        "SUPABASE_TELEMETRY_DISABLED": "1",
        "DO_NOT_TRACK": "1",
        "CI": "1",
        "NO_COLOR": "1",
    }
    return subprocess.run(
        [str(program), *arguments, "--workdir", str(project)],
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
    )
