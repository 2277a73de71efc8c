"""`docatlas serve`: the HTTP server and, in the same process, the worker."""

from __future__ import annotations

import asyncio
import errno
import logging
import os
import signal
import socket
import sys
from enum import StrEnum
from functools import partial
from typing import Annotated, cast

import typer

from cli.console import AsJson, DataDir, load_settings, print_text
from cli.models import require_text_model
from services.admin.schema import describe_database
from services.errors import Conflict, DocatlasError, Forbidden, InternalError, InvalidOption
from services.settings import Settings

_log = logging.getLogger(__name__)

GRACE_S = 10
"""Seconds that answers under way may take once the server was told to stop; uploads longer than that are cut off."""
OTHER_FILES = 512
"""Files that are open beside connections: databases, uploads, children's pipes, refused connections."""
BACKLOG = 2048
"""Source: uvicorn's own default."""


class PostgresServer(StrEnum):
    EMBEDDED = "embedded"
    EXTERNAL = "external"


def serve(
    host: Annotated[
        str | None, typer.Option("--host", help="Address to listen on.", show_default="DOCATLAS_HOST, 127.0.0.1")
    ] = None,
    port: Annotated[
        int | None,
        typer.Option(
            "--port",
            min=0,
            max=65535,
            help="Port to listen on; 0 takes a free one.",
            show_default="DOCATLAS_PORT, 8000",
        ),
    ] = None,
    postgres: Annotated[
        PostgresServer | None,
        typer.Option("--postgres", help="`embedded`: start a Postgres in the data folder, where no database is set."),
    ] = None,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Serves the HTTP API and runs the jobs until Ctrl-C or SIGTERM.

    Running jobs then go back to the queue. With `--json` the one line on stdout is a JSON object with the address. The
    log goes to stderr.
    """
    settings = load_settings(data_dir, host=host, port=port, postgres=None if postgres is None else postgres.value)
    logging.basicConfig(
        level=settings.log_level.upper(), stream=sys.stderr, format="%(asctime)s %(levelname)s %(name)s: %(message)s"
    )
    listener = listen(settings.host, settings.port)
    try:
        require_text_model(settings)
        _run(settings, listener, as_json=as_json)
    finally:
        listener.close()


def listen(host: str, port: int) -> socket.socket:
    """Opens a socket that listens on the address.

    Raises Conflict when it is taken, and what says why it cannot be had.
    """
    name = host.strip("[]")
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            name, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
    except socket.gaierror as error:
        raise InvalidOption(
            f"The host {host!r} is no address of this machine. Use 127.0.0.1, or a name that resolves."
        ) from error
    listener = socket.socket(family, kind, protocol)
    try:
        # The address of a server that has just ended can be taken again; one of a living server cannot.
        if os.name == "posix":
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(BACKLOG)
    except OSError as error:
        listener.close()
        raise _listen_error(error, host, port) from error
    listener.set_inheritable(False)
    return listener


def _listen_error(error: OSError, host: str, port: int) -> DocatlasError:
    if error.errno == errno.EADDRINUSE:
        return Conflict(
            f"Port {port} of {host} is taken by another program, perhaps another `docatlas serve`. "
            "Stop that, or choose another with --port (0 takes a free one).",
            code="port_in_use",
        )
    if error.errno in (errno.EACCES, errno.EPERM):
        return Forbidden(f"Port {port} needs more rights than this user has. Choose one from 1024 up with --port.")
    if error.errno == errno.EADDRNOTAVAIL:
        return InvalidOption(f"{host} is no address of this machine. Use 127.0.0.1, or 0.0.0.0 for every address.")
    return InternalError(f"Cannot listen on {host}, port {port}: {error.strerror}.", code="cannot_listen")


def allow_open_files(settings: Settings) -> int:
    """Connections for which this process may open files, after its limit was raised as far as it may be.

    Less than `max_connections` where the system's hard limit is lower, which the log says.
    """
    try:
        import resource
    except ImportError:  # Windows has no such limit
        return settings.max_connections
    wanted = settings.max_connections + OTHER_FILES
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        soft = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return settings.max_connections
    allowed = max(16, soft - OTHER_FILES)
    _log.warning(
        "This process may open %d files, so it takes %d connections and not %d. Raise the limit (LimitNOFILE in "
        "systemd), or set DOCATLAS_MAX_CONNECTIONS.",
        soft,
        allowed,
        settings.max_connections,
    )
    return allowed


def address_of(settings: Settings, listener: socket.socket) -> str:
    """The URL under which this machine reaches the server.

    With the port that was really taken.
    """
    port = listener.getsockname()[1]
    host = settings.host.strip("[]")
    if host in ("0.0.0.0", "::", ""):  # listens everywhere; loopback is where curl on this machine finds it
        host = "127.0.0.1"
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def greeting(url: str, settings: Settings, *, as_json: bool) -> str:
    """What is printed once the server listens: the address, and what to try."""
    if as_json:
        import json

        return json.dumps(
            {
                "url": url,
                "data_dir": str(settings.data_dir),
                "database": describe_database(settings),
                "pid": os.getpid(),
            }
        )
    shown, first = "", ""
    if settings.accounts != "none":
        shown, first = ' -H "Authorization: Bearer $TOKEN"', _logging_in(url, settings)
    return (
        f"Docatlas listens on {url} (documentation: {url}/docs)\n"
        f"{_storage(settings)}; Ctrl-C stops the server.\n"
        f"Try, in another terminal:\n{first}"
        f"  curl{shown} -F files=@report.pdf {url}/v1/documents\n"
        f"  curl{shown} {url}/v1/search -H 'Content-Type: application/json' -d '{{\"query\": \"your question\"}}'\n"
    )


def _storage(settings: Settings) -> str:
    """Where documents and files are kept."""
    if settings.database_url is None and settings.postgres != "embedded":
        return f"Documents and files are kept in {settings.data_dir}, the database is SQLite"
    return f"Documents are kept in {describe_database(settings)}, files in {settings.data_dir}"


def _logging_in(url: str, settings: Settings) -> str:
    """The lines that make an account and put its access token into `$TOKEN`."""
    import shlex

    json_body = "-H 'Content-Type: application/json' -d"
    account = '{"email": "you@example.org", "password": "your password"}'
    if settings.accounts == "supabase":
        made = ""  # by whoever looks after the project's users
    elif settings.registration == "open":
        made = f"  curl {url}/v1/auth/register {json_body} '{account}'\n"
    else:
        made = f"  ./docatlas users add you@example.org --data-dir {shlex.quote(str(settings.data_dir))}\n"
    only_the_token = r"""sed 's/.*"access_token": *"\([^"]*\)".*/\1/'"""
    return f"{made}  TOKEN=$(curl -sS {url}/v1/auth/login {json_body} '{account}' | {only_the_token})\n"


def _run(settings: Settings, listener: socket.socket, *, as_json: bool) -> None:
    import uvicorn

    from api.app import create_app
    from api.http.connections import Connections, HttpConnection
    from cli.http_server import HttpServer
    from services.allocator import bound_allocator
    from services.jobs.worker import Worker
    from services.runtime import open_runtime

    bound_allocator()
    connections = Connections(settings, max_connections=min(settings.max_connections, allow_open_files(settings)))
    runtime = open_runtime(settings)
    try:
        runtime.warm_up()
        with Worker(runtime) as worker:
            app = create_app(runtime, worker)
            config = uvicorn.Config(
                app,
                http=cast(type[asyncio.Protocol], partial(HttpConnection, limits=connections)),
                log_config=None,
                access_log=settings.log_level == "debug",
                lifespan="on",
                server_header=False,
                proxy_headers=False,
                ws="none",
                backlog=BACKLOG,
                timeout_graceful_shutdown=GRACE_S,
            )
            server = HttpServer(
                config,
                connections=connections,
                body_memory=app.state.body_memory,
                on_listening=lambda: print_text(greeting(address_of(settings, listener), settings, as_json=as_json)),
                on_stopping=runtime.notifier.close,
            )
            # uvicorn raises the signal that stopped it once more when it is done: that must not end the process before
            # the jobs are back in the queue.
            signal.signal(signal.SIGTERM, lambda *_: None)
            signal.signal(signal.SIGINT, lambda *_: None)
            server.run(sockets=[listener])
            if not server.started:
                raise InternalError("The server did not start; the lines above say why.", code="start_failed")
    finally:
        runtime.close()
