"""Makes the data folder of an embedded Postgres.

Each of its two roles gets a password.
"""

from __future__ import annotations

import json
import os
import secrets
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from database.postgres.install import Install, PostgresUnavailable, as_user
from database.postgres.migrations import SERVER_ROLE

ADMIN_ROLE = "postgres"
_LOCALES = ("C.UTF-8", "en_US.UTF-8", "C")
"""Of the operating system, the first that it has; sorting and case are Postgres' own C.UTF-8 in any case."""
_KEPT = {
    "shared_buffers": "256MB",
    # An HNSW graph that outgrows it is built many times slower (pgvector's README, "Index Build Time"); 100,000
    # half-precision vectors of 768 take about 250 MB. Only an index that is being built uses it.
    "maintenance_work_mem": "512MB",
    "autovacuum_work_mem": "64MB",
    "max_connections": "100",
    "max_wal_size": "2GB",
    "random_page_cost": "1.1",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "log_statement": "none",
    "log_min_error_statement": "panic",
}
"""Written into postgresql.conf when the folder is made, where an operator may change them.

The last two keep statements, and so users' texts, out of the log.
"""


def data_folder(folder: Path) -> Path:
    """Postgres' own part of `folder`."""
    return folder / "data"


def make_cluster(folder: Path, install: Install, *, sync: bool) -> None:
    """Makes the data folder, whole or not at all.

    `sync=False` leaves writing it to the disk to the system. Raises PostgresUnavailable with the last thing that initdb
    said.
    """
    passwords = {role: secrets.token_urlsafe(32) for role in (ADMIN_ROLE, SERVER_ROLE)}
    for left in folder.glob("new-*"):
        shutil.rmtree(left)
    scratch = Path(tempfile.mkdtemp(prefix="new-", dir=folder))
    _write_secret(scratch / "password", passwords[ADMIN_ROLE])
    if install.user is not None:
        for path in (scratch, scratch / "password"):
            os.chown(path, install.user.uid, install.user.gid)
    made = scratch / "data"
    for locale in _LOCALES:
        failure = _run_initdb(install, scratch, locale, sync=sync)
        if failure is None:
            break
        shutil.rmtree(made, ignore_errors=True)
    else:
        raise PostgresUnavailable(f"The data folder {data_folder(folder)} cannot be made: {failure}")
    _write_secret(folder / "passwords.json", json.dumps(passwords))
    made.rename(data_folder(folder))
    shutil.rmtree(scratch)


def read_passwords(folder: Path) -> dict[str, str]:
    """The password of each role; a secret."""
    found: dict[str, str] = json.loads((folder / "passwords.json").read_text("ascii"))
    return found


def environment() -> dict[str, str]:
    """The environment without the caller's variables for Postgres and locale.

    They would change what is made.
    """
    return {"PATH": os.defpath, "TZ": "UTC"}


def _run_initdb(install: Install, scratch: Path, locale: str, *, sync: bool) -> str | None:
    """Makes `scratch/data`.

    Returns None, or the last thing that was said where it failed.
    """
    handle = os.open(scratch, os.O_RDONLY | os.O_DIRECTORY)
    try:
        # An open folder can be worked in without a right to enter those above it, root's own for instance.
        linked = install.user is not None and sys.platform == "linux"
        place = f"/proc/self/fd/{handle}" if linked else str(scratch.absolute())
        command = [
            str(install.bin / "initdb"),
            f"--pgdata={place}/data",
            f"--username={ADMIN_ROLE}",
            f"--pwfile={place}/password",
            "--auth=scram-sha-256",
            "--encoding=UTF8",
            "--locale-provider=builtin",
            "--builtin-locale=C.UTF-8",
            f"--locale={locale}",
            "--no-instructions",
            *(f"--set={name}={value}" for name, value in _KEPT.items()),
        ]
        if not sync:
            command.append("--no-sync")
        done = subprocess.run(
            command,
            cwd=scratch,
            env=environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            pass_fds=(handle,),
            text=True,
            errors="replace",
            **as_user(install.user),  # type: ignore[call-overload]
        )
    finally:
        os.close(handle)
    if done.returncode == 0:
        return None
    return str((done.stdout.strip().splitlines() or [f"initdb ended with {done.returncode}"])[-1])


def _write_secret(path: Path, text: str) -> None:
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with open(handle, "w", encoding="ascii") as file:
        file.write(text)
