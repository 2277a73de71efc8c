"""Converts old Office files with LibreOffice.

Without macros, links or windows, in a folder that is removed.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from services.content import Limits
from services.errors import CapabilityMissing, TooLarge, UnreadableDocument

_NAMES = ("soffice", "libreoffice")
_USUAL_PLACES = (
    "/Applications/LibreOffice.app/Contents/MacOS/soffice",
    "C:/Program Files/LibreOffice/program/soffice.exe",
    "C:/Program Files (x86)/LibreOffice/program/soffice.exe",
    "/opt/libreoffice/program/soffice",
    "/usr/lib/libreoffice/program/soffice",
    "/usr/lib64/libreoffice/program/soffice",
    "/snap/bin/libreoffice",
)
_RESTARTS = 2
_EXIT_RESTART = (79, 81)
"""Exit statuses with which the program asks to be started again, as it does on a new profile.

Source: LibreOffice, desktop/source/app/app.cxx and include/osl (EXITHELPER_CRASH_WITH_RESTART, NORMAL_RESTART)."""

_WALL_SHARE = 0.9
"""Of the document's wall clock; what is left is for reading the result and for telling what happened."""

_SETTINGS = (
    ("org.openoffice.Office.Common/Security/Scripting", "MacroSecurityLevel", "3"),
    ("org.openoffice.Office.Common/Security/Scripting", "DisableMacrosExecution", "true"),
    ("org.openoffice.Office.Common/Security/Scripting", "DisableActiveContent", "true"),
    ("org.openoffice.Office.Common/Security/Scripting", "BlockUntrustedRefererLinks", "true"),
    ("org.openoffice.Office.Common/Save/Document", "CreateBackup", "false"),
    ("org.openoffice.Office.Common/Misc", "CrashReport", "false"),
    ("org.openoffice.Office.Common/Misc", "FirstRun", "false"),
    ("org.openoffice.Office.Common/Java/ApplicationSettings", "Enable", "false"),
    ("org.openoffice.Office.Writer/Content/Update", "Link", "2"),
    ("org.openoffice.Office.Calc/Content/Update", "Link", "1"),
)
"""Source: the schemas officecfg/registry/schema of LibreOffice; of links, 2 (Calc: 1) is never."""


@dataclass(frozen=True, slots=True)
class Conversion:
    """From what to what, in LibreOffice's words."""

    suffix: str
    import_filter: str
    to_suffix: str
    export_filter: str


DOC_TO_DOCX = Conversion("doc", "MS Word 97", "docx", "MS Word 2007 XML")
PPT_TO_PPTX = Conversion("ppt", "MS PowerPoint 97", "pptx", "Impress MS PowerPoint 2007 XML")


def find_libreoffice(explicit: Path | None = None) -> Path | None:
    """The program: `explicit` where it is given and exists, else the system's.

    None without one.
    """
    if explicit is not None:
        return explicit if explicit.is_file() else None
    for name in _NAMES:
        found = shutil.which(name)
        if found:
            return Path(found)
    return next((place for place in map(Path, _USUAL_PLACES) if place.is_file()), None)


def libreoffice_missing(what: str) -> CapabilityMissing:
    """The error for `what` (such as `a .ppt file`), which needs the program that is not installed."""
    return CapabilityMissing(
        f"LibreOffice is needed to read {what}, and it is not installed on the server. Install it (Debian and Ubuntu: "
        "`apt-get install libreoffice-impress libreoffice-writer`; macOS: `brew install --cask libreoffice`; else "
        "libreoffice.org) or name it in DOCATLAS_LIBREOFFICE_PATH, then retry; or save the file in the newer format.",
        code="libreoffice_missing",
    )


def convert(program: Path, source: Path, conversion: Conversion, folder: Path, limits: Limits) -> Path:
    """The converted file, in `folder`, which must be empty and private and is the caller's to remove.

    Raises TooLarge (`conversion_timeout`), UnreadableDocument (`conversion_failed`) and CapabilityMissing
    (`libreoffice_broken`).
    """
    given = folder / f"document.{conversion.suffix}"
    result = folder / "converted" / f"document.{conversion.to_suffix}"
    profile = folder / "profile"
    _write_profile(profile)
    given.symlink_to(source.absolute())
    command = [
        str(_engine(program)),
        "--headless", "--invisible", "--norestore", "--nolockcheck", "--nodefault", "--nologo",
        f"-env:UserInstallation={profile.absolute().as_uri()}",
        f"--infilter={conversion.import_filter}",
        "--convert-to", f"{conversion.to_suffix}:{conversion.export_filter}",
        "--outdir", str(result.parent),
        str(given),
    ]  # fmt: skip
    remaining_s = _WALL_SHARE * limits.wall_s
    status = 0
    for _ in range(1 + _RESTARTS):
        status = _run(command, folder, remaining_s)
        if status not in _EXIT_RESTART:
            break
    if status != 0 or not result.is_file():
        raise UnreadableDocument(
            "LibreOffice could not convert the file; it is probably damaged. Open it in Office, save it in the newer "
            "format (.docx, .pptx) and upload that.",
            code="conversion_failed",
        )
    return result


def _engine(program: Path) -> Path:
    """The program itself in place of the script that starts it, so that ending one process ends it all."""
    beside = program.resolve().with_name("soffice.bin")
    return beside if beside.is_file() and sys.platform != "win32" else program


def _run(command: list[str], folder: Path, timeout_s: float) -> int:
    """The exit status. The process stays in our process group, so that it ends with us whoever kills the group."""
    environment = {
        "PATH": os.environ.get("PATH", os.defpath),
        "HOME": str(folder),
        "TMPDIR": str(folder),
        "LANG": "C.UTF-8",
        "SAL_USE_VCLPLUGIN": "svp",
        "SAL_DISABLE_OPENCL": "1",
    }
    if "LD_LIBRARY_PATH" in os.environ:
        environment["LD_LIBRARY_PATH"] = os.environ["LD_LIBRARY_PATH"]
    if sys.platform == "win32":
        environment["SYSTEMROOT"] = os.environ.get("SYSTEMROOT", "C:\\Windows")
    try:
        process = subprocess.Popen(
            command,
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
    except OSError as error:
        raise CapabilityMissing(
            f"LibreOffice at {command[0]} cannot be started. Install it anew, or correct DOCATLAS_LIBREOFFICE_PATH.",
            code="libreoffice_broken",
        ) from error
    try:
        return process.wait(timeout=timeout_s)
    except subprocess.TimeoutExpired as error:
        raise TooLarge(
            "Converting the file with LibreOffice took longer than one document may take. Save it in the newer format "
            "(.docx, .pptx), or split it.",
            code="conversion_timeout",
        ) from error
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()


def _write_profile(profile: Path) -> None:
    (profile / "user").mkdir(parents=True)
    items = "".join(
        f'<item oor:path="/{path}"><prop oor:name="{name}" oor:op="fuse"><value>{value}</value></prop></item>'
        for path, name, value in _SETTINGS
    )
    (profile / "user" / "registrymodifications.xcu").write_text(
        '<?xml version="1.0" encoding="UTF-8"?>\n<oor:items xmlns:oor="http://openoffice.org/2001/registry" '
        'xmlns:xs="http://www.w3.org/2001/XMLSchema" xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance">'
        f"{items}</oor:items>\n",
        encoding="utf-8",
    )
