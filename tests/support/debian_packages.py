"""Programs for the tests, unpacked without root from the packages of Debian or Ubuntu.

`apt-get` chooses the packages and checks their signatures; nothing is installed, no script of a package runs.
"""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

DONE = "complete"


def unpack(program: str, packages: Sequence[str], folder: Path, options: Sequence[str] = ()) -> Path:
    """The folder that holds what the packages, and those that they need and this system lacks, would put under `/`.

    Done once for a `folder`; `options` go to apt-get. Raises RuntimeError where the packages cannot be had.
    """
    root = folder / "root"
    if (folder / DONE).exists():
        return root
    if shutil.which("apt-get") is None or shutil.which("dpkg-deb") is None:
        raise RuntimeError(f"{program} is needed by these tests: install it, or run them on Debian or Ubuntu")
    shutil.rmtree(folder, ignore_errors=True)
    root.mkdir(parents=True)
    fetched = folder / "packages"
    fetched.mkdir()
    given = [*options]
    wanted = wanted_packages(packages, folder, given)
    run_checked(["apt-get", *given, "-qq", "download", *wanted], fetched)
    for package in sorted(fetched.glob("*.deb")):
        run_checked(["dpkg-deb", "-x", str(package), str(root)], folder)
    shutil.rmtree(fetched)
    (folder / DONE).touch()
    return root


def library_folders(root: Path) -> list[Path]:
    """Where the shared libraries below `root` are."""
    return sorted((root / "usr" / "lib").glob("*-linux-gnu"))


def wanted_packages(packages: Sequence[str], folder: Path, options: list[str]) -> list[str]:
    """What apt would install; the lists of packages are fetched into `folder` where the system has none.

    `options` get what apt-get needs to find those lists again.
    """
    simulate = ["apt-get", *options, "-s", "-qq", "install", "--no-install-recommends", *packages]
    done = subprocess.run(simulate, cwd=folder, capture_output=True, text=True)
    if done.returncode != 0:
        for name in ("lists/partial", "archives/partial"):
            (folder / name).mkdir(parents=True, exist_ok=True)
        options += ["-o", f"Dir::State::lists={folder / 'lists'}", "-o", f"Dir::Cache::archives={folder / 'archives'}"]
        run_checked(["apt-get", *options, "-qq", "update"], folder)
        simulate[1:1] = options
        done = subprocess.run(simulate, cwd=folder, capture_output=True, text=True, check=True)
    return [line.split()[1] for line in done.stdout.splitlines() if line.startswith("Inst ")]


def run_checked(command: list[str], folder: Path) -> None:
    """Runs it there. Raises RuntimeError with the end of what it wrote to stderr where it fails."""
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(command[:4])} failed: {done.stderr[-1000:]}")
