"""LibreOffice for the tests: the system's, else one unpacked without root from the packages of Debian or Ubuntu.

Unpacked into the user's cache folder: about 115 MB are fetched for a system that has none of it, which take 400 MB
unpacked. `apt-get` chooses the packages and checks their signatures; nothing is installed, no script of a package runs.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Sequence
from pathlib import Path

import platformdirs

from services.formats.office.libreoffice import find_libreoffice
from tests.support.debian_packages import run_checked, wanted_packages

PACKAGES = ("libreoffice-impress", "libreoffice-writer")
_ABSOLUTE = re.compile(r"file:///(usr|etc|var)/")
_DONE = "complete"


def libreoffice(cache: Path | None = None) -> Path:
    """The program. Sets LD_LIBRARY_PATH of this process where it was unpacked beside the system's libraries.

    Raises RuntimeError where there is neither a LibreOffice nor a way to get one.
    """
    found = find_libreoffice()
    return found if found is not None else unpacked(cache or Path(platformdirs.user_cache_dir("docatlas")) / "tests")


def unpacked(cache: Path, options: Sequence[str] = ()) -> Path:
    """The program below `cache`, unpacked there when it is not yet; `options` go to apt-get."""
    folder = cache / "libreoffice"
    root = folder / "root"
    if not (folder / _DONE).exists():
        if shutil.which("apt-get") is None or shutil.which("dpkg-deb") is None:
            raise RuntimeError("LibreOffice is needed by these tests: install it, or run them on Debian or Ubuntu")
        shutil.rmtree(folder, ignore_errors=True)
        root.mkdir(parents=True)
        packages = folder / "packages"
        packages.mkdir()
        given = [*options]
        wanted = wanted_packages(PACKAGES, folder, given)
        run_checked(["apt-get", *given, "-qq", "download", *wanted], packages)
        for package in sorted(packages.glob("*.deb")):
            run_checked(["dpkg-deb", "-x", str(package), str(root)], folder)
        shutil.rmtree(packages)
        _keep_links_inside(root)
        _place_settings(root)
        (folder / _DONE).touch()
    program = root / "usr" / "lib" / "libreoffice" / "program"
    libraries = [str(path) for path in sorted((root / "usr" / "lib").glob("*-linux-gnu"))]
    libraries += [str(path) for base in libraries for path in sorted(Path(base).glob("*")) if _is_library_folder(path)]
    os.environ["LD_LIBRARY_PATH"] = ":".join([str(program), *libraries, os.environ.get("LD_LIBRARY_PATH", "")]).rstrip(
        ":"
    )
    return program / "soffice"


def _keep_links_inside(root: Path) -> None:
    """Makes links to absolute places lead to the same places below `root`, where the packages have them."""
    for path in root.rglob("*"):
        if path.is_symlink() and path.readlink().is_absolute():
            inside = root / str(path.readlink()).lstrip("/")
            if inside.exists() or inside.is_symlink():
                path.unlink()
                path.symlink_to(inside)


def _place_settings(root: Path) -> None:
    """Puts the settings that LibreOffice comes with where it looks for them, as its packages' scripts would."""
    office = root / "usr" / "lib" / "libreoffice"
    defaults = office / "share" / ".registry"
    if defaults.is_dir():
        shutil.copytree(defaults, root / "etc" / "libreoffice" / "registry", dirs_exist_ok=True)
    for path in (office / "program").glob("*rc"):
        text = path.read_text(encoding="utf-8")
        path.write_text(_ABSOLUTE.sub(rf"file://{root}/\1/", text), encoding="utf-8")


def _is_library_folder(path: Path) -> bool:
    """True for folders such as `lapack`, to which the alternatives of a real installation would link."""
    return path.is_dir() and any(path.glob("lib*.so.*"))
