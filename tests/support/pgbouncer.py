"""A real PgBouncer before a database, in transaction mode as Supabase's pooler: the system's, or one unpacked."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import platformdirs
from filelock import FileLock

from database.postgres.install import as_user, find_install
from tests.support.debian_packages import library_folders, unpack
from tests.support.waiting import wait_for


def pgbouncer_program(cache: Path | None = None) -> tuple[Path, dict[str, str]]:
    """The program and the environment that it needs. Raises RuntimeError where there is no way to get it."""
    found = shutil.which("pgbouncer", path=os.defpath + ":/usr/sbin:/sbin:/usr/local/sbin")
    if found is not None and cache is None:
        return Path(found), {"PATH": os.defpath}
    # Root's own cache folder is closed to the user in whose name root runs it.
    ours = platformdirs.user_cache_dir("docatlas") if os.geteuid() else "/var/cache/docatlas"
    folder = (cache or Path(ours) / "tests") / "pgbouncer"
    folder.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(folder.with_suffix(".lock")):
        root = unpack("PgBouncer", ["pgbouncer"], folder)
    libraries = ":".join(str(path) for path in library_folders(root))
    return root / "usr" / "sbin" / "pgbouncer", {"PATH": os.defpath, "LD_LIBRARY_PATH": libraries}


@contextmanager
def pooler(
    *urls: str, folder: Path, pool_size: int = 1, tls: tuple[bytes, bytes] | None = None
) -> Iterator[Callable[[str], str]]:
    """A function that turns a URL into the pooler's: of any database on the server of `urls`, and of their roles.

    It has `pool_size` connections to each database and role, and every transaction gets whichever is free. With `tls`,
    a certificate and its key in PEM, it refuses what is not encrypted.
    """
    program, environment = pgbouncer_program()
    parts = [urlsplit(url) for url in urls]
    server_port = parts[0].port
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "users.txt").write_text("".join(f'"{part.username}" "{part.password}"\n' for part in parts))
    encryption = ""
    if tls is not None:
        for name, content in zip(("server.crt", "server.key"), tls, strict=True):
            (folder / name).write_bytes(content)
        encryption = (
            "client_tls_sslmode = require\nclient_tls_cert_file = server.crt\nclient_tls_key_file = server.key\n"
        )
    (folder / "pgbouncer.ini").write_text(
        f"""
[databases]
* = host=127.0.0.1 port={server_port}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
unix_socket_dir =
auth_type = scram-sha-256
auth_file = users.txt
pool_mode = transaction
default_pool_size = {pool_size}
reserve_pool_size = 0
max_client_conn = 100
server_reset_query =
ignore_startup_parameters = extra_float_digits
{encryption}"""
    )
    # It refuses to run as root, as Postgres does.
    user = find_install().user
    if user is not None:
        for path in (folder, *folder.iterdir()):
            os.chown(path, user.uid, user.gid)
    log = (folder / "log").open("wb")
    process = subprocess.Popen(
        [str(program), "pgbouncer.ini"],
        cwd=folder,
        env=environment,
        stdout=log,
        stderr=log,
        **as_user(user),  # type: ignore[call-overload]
    )
    try:
        wait_for(lambda: process.poll() is not None or _answers(port))
        assert process.poll() is None, (folder / "log").read_text()
        yield lambda direct: direct.replace(f":{server_port}/", f":{port}/")
    finally:
        process.kill()
        process.wait()
        log.close()


def _answers(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True
