"""Package indexes on loopback, as pip asks them, with wheels that a test writes."""

from __future__ import annotations

import http.server
import threading
import time
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote, unquote

BLOCK = 64 * 1024
"""Bytes that are sent at once."""


def write_wheel(
    folder: Path, name: str, version: str, *, tag: str = "py3-none-any", files: Mapping[str, bytes] | None = None
) -> Path:
    """A wheel of the package `name` that holds `files`; its path in `folder`, which is made."""
    info = f"{name}-{version}.dist-info"
    content = {
        f"{name}/__init__.py": b"",
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n".encode(),
        f"{info}/WHEEL": f"Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: {tag}\n".encode(),
        **(files or {}),
    }
    content[f"{info}/RECORD"] = "".join(f"{path},,\n" for path in [*content, f"{info}/RECORD"]).encode()
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}-{version}-{tag}.whl"
    with zipfile.ZipFile(path, "w") as wheel:
        for member, data in content.items():
            wheel.writestr(member, data)
    return path


@dataclass
class Indexes:
    """One index a folder below `folder`."""

    url: str
    folder: Path
    asked: list[str] = field(default_factory=list)
    """The path of each request, in order."""

    def address(self, name: str) -> str:
        return f"{self.url}/{name}"


@contextmanager
def open_indexes(folder: Path, *, pause_s: float = 0.0) -> Iterator[Indexes]:
    """Serves the indexes in `folder` as long as the block runs, with a pause after each BLOCK of a wheel."""
    opened = Indexes("", folder)

    class Handler(http.server.BaseHTTPRequestHandler):
        """The simple API: /index/package/ lists wheels, /index/wheel is one. Source: PEP 503."""

        def do_GET(self) -> None:
            path = unquote(self.path)
            opened.asked.append(path)
            index, _, rest = path.strip("/").partition("/")
            if rest.endswith(".whl") and (folder / index / rest).is_file():
                self._answer((folder / index / rest).read_bytes(), "application/octet-stream", pause_s)
                return
            names = [found.name for found in folder.glob(f"{index}/{rest.replace('-', '_')}-*.whl")]
            if not names:
                self.send_error(404)
                return
            links = "".join(f'<a href="/{index}/{quote(name)}">{name}</a>\n' for name in names)
            self._answer(f"<!DOCTYPE html><html><body>{links}</body></html>".encode(), "text/html", 0.0)

        def _answer(self, body: bytes, kind: str, pause_s: float) -> None:
            self.send_response(200)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            for start in range(0, len(body), BLOCK):
                self.wfile.write(body[start : start + BLOCK])
                time.sleep(pause_s)

        def log_message(self, format: str, *args: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        opened.url = f"http://127.0.0.1:{server.server_address[1]}"
        try:
            yield opened
        finally:
            server.shutdown()
            thread.join()
