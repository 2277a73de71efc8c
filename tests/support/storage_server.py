"""A stand-in for Supabase Storage on loopback: the REST calls that the `supabase` client makes, kept in a folder.

Source: https://github.com/supabase/storage, `src/http/routes`. As there, a refusal is HTTP 400 with the status that is
meant in the body, and an object appears only once its upload has arrived whole.
"""

from __future__ import annotations

import json
import re
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

SERVICE_KEY = "service-key-of-the-tests"


class Refusal(Exception):
    """An answer in Storage's words."""

    def __init__(self, status: int, error: str, message: str) -> None:
        super().__init__(message)
        self.status, self.error, self.message = status, error, message


@dataclass
class Faults:
    """What goes wrong, and for how many requests more; `only` is a part of `METHOD /path` that they are about."""

    status: int = 0
    """Answered instead; 502 is a gateway's page, anything else Storage's JSON."""
    hang: bool = False
    """No answer, and an end of the connection once the fault is taken away."""
    late: bool = False
    """No answer until the fault is taken away; then what was asked is done."""
    cut: bool = False
    """The connection ends in the middle of the body that is sent."""
    damage: bool = False
    """A byte of the body that is sent is another."""
    times: int = 10**9
    only: str = ""


@dataclass
class Storage:
    """The server's side of things. `calls` are `METHOD /path` in the order of their arrival."""

    folder: Path
    buckets: dict[str, bool] = field(default_factory=dict)
    """Whether each is public."""
    faults: Faults = field(default_factory=lambda: Faults(times=0))
    calls: list[str] = field(default_factory=list)
    uploading: threading.Event = field(default_factory=threading.Event)
    """Set when the first bytes of an upload have come."""
    page_size: int = 1000
    largest: int = 10**12
    url: str = ""
    lock: threading.Lock = field(default_factory=threading.Lock)

    def count(self, text: str) -> int:
        """How many calls had `text` in them."""
        return sum(text in call for call in self.calls)

    def object(self, bucket: str, name: str) -> Path:
        """The file of an object. Raises Refusal where there is no such bucket."""
        if bucket not in self.buckets:
            raise Refusal(404, "Bucket not found", "Bucket not found")
        if not re.fullmatch(r"[\w./-]+", name) or ".." in name:
            raise Refusal(400, "InvalidKey", f"Invalid key: {name}")
        return self.folder / bucket / name

    def objects(self, bucket: str) -> list[str]:
        """The names of every object, sorted."""
        root = self.folder / bucket
        return sorted(str(path.relative_to(root)) for path in root.rglob("*") if path.is_file())

    def fault(self, call: str) -> Faults:
        """The fault of this call; one without anything set where it goes well."""
        with self.lock:
            if self.faults.times > 0 and self.faults.only in call:
                self.faults.times -= 1
                return self.faults
        return Faults()


class _Handler(BaseHTTPRequestHandler):
    storage: Storage
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing is printed."""

    def _handle(self) -> None:
        call = f"{self.command} {urlsplit(self.path).path}"
        self.storage.calls.append(call)
        fault = self.storage.fault(call)
        body = self._body()
        while (fault.hang or fault.late) and self.storage.faults is fault:
            time.sleep(0.02)
        if fault.hang:
            self.close_connection = True
            return
        if fault.status == 502:
            self._send(502, b"<html>Bad Gateway</html>", "text/html", fault)
            return
        try:
            if fault.status:
                raise Refusal(fault.status, "Fault", "made for a test")
            kind, content = self._answer(body)
        except Refusal as refusal:
            kind, content = (
                "application/json",
                json.dumps(
                    {"statusCode": str(refusal.status), "error": refusal.error, "message": refusal.message}
                ).encode(),
            )
            self._send(500 if refusal.status == 500 else 400, content, kind, fault)
            return
        self._send(200, content, kind, fault)

    do_GET = do_POST = do_DELETE = do_PUT = _handle  # noqa: N815

    def _body(self) -> bytes:
        length = int(self.headers.get("Content-Length", 0))
        content = bytearray()
        while len(content) < length:
            step = self.rfile.read1(min(65536, length - len(content)))
            if not step:
                break
            content += step
            if "multipart" in self.headers.get("Content-Type", ""):
                self.storage.uploading.set()
        self._is_whole = len(content) == length
        return bytes(content)

    def _answer(self, body: bytes) -> tuple[str, bytes]:
        target = urlsplit(self.path)
        steps = [unquote(step) for step in target.path.removeprefix("/storage/v1/").split("/")]
        match self.command, steps:
            case "GET", ["object", "sign", bucket, *name] if target.query:
                if parse_qs(target.query).get("token") != [f"token-of-{'/'.join(name)}"]:
                    raise Refusal(400, "InvalidJWT", "invalid signature")
                return self._read(bucket, name)
        if self.headers.get("Authorization") != f"Bearer {SERVICE_KEY}" or self.headers.get("apikey") != SERVICE_KEY:
            raise Refusal(403, "Unauthorized", "Invalid JWT")
        match self.command, steps:
            case "GET", ["bucket", bucket]:
                return self._json(self._bucket(bucket))
            case "POST", ["bucket"]:
                return self._json(self._create(json.loads(body)))
            case "POST", ["object", "list-v2", bucket]:
                return self._json(self._list(bucket, json.loads(body)))
            case "POST", ["object", "sign", bucket, *name]:
                self._existing(bucket, name)
                path = "/".join(name)
                return self._json({"signedURL": f"/object/sign/{bucket}/{path}?token=token-of-{path}"})
            case "GET", ["object", "info", bucket, *name]:
                return self._json({"name": "/".join(name), "size": self._existing(bucket, name).stat().st_size})
            case "GET", ["object", "authenticated", bucket, *name]:
                return self._read(bucket, name)
            case "POST", ["object", bucket, *name]:
                return self._json(self._write(bucket, name, body))
            case "DELETE", ["object", bucket]:
                return self._json(self._remove(bucket, json.loads(body)["prefixes"]))
        raise Refusal(404, "route", f"Route {self.command}:{target.path} not found")

    def _bucket(self, bucket: str) -> dict[str, Any]:
        if bucket not in self.storage.buckets:
            raise Refusal(404, "Bucket not found", "Bucket not found")
        moment = datetime.now(UTC).isoformat()
        return {
            "id": bucket,
            "name": bucket,
            "owner": "",
            "public": self.storage.buckets[bucket],
            "created_at": moment,
            "updated_at": moment,
            "file_size_limit": None,
            "allowed_mime_types": None,
        }

    def _create(self, asked: dict[str, Any]) -> dict[str, Any]:
        with self.storage.lock:
            if asked["id"] in self.storage.buckets:
                raise Refusal(409, "Duplicate", "The resource already exists")
            self.storage.buckets[asked["id"]] = bool(asked.get("public"))
        return {"name": asked["id"]}

    def _list(self, bucket: str, asked: dict[str, Any]) -> dict[str, Any]:
        self._bucket(bucket)
        names = [name for name in self.storage.objects(bucket) if name > asked.get("cursor", "")]
        size = min(asked["limit"], self.storage.page_size)
        found = []
        for name in names[:size]:
            moment = datetime.fromtimestamp((self.storage.folder / bucket / name).stat().st_mtime, UTC).isoformat()
            found.append({"id": name, "name": name, "updated_at": moment, "created_at": moment, "metadata": {}})
        more = len(names) > size
        return {"hasNext": more, "folders": [], "objects": found, "nextCursor": names[size - 1] if more else None}

    def _write(self, bucket: str, name: list[str], body: bytes) -> dict[str, Any]:
        target = self.storage.object(bucket, "/".join(name))
        boundary = self.headers["Content-Type"].partition("boundary=")[2].encode()
        part = next(part for part in body.split(b"--" + boundary) if b'name="file"' in part)
        head, _, content = part.partition(b"\r\n\r\n")
        content = content.removesuffix(b"\r\n")
        if not self._is_whole:
            raise Refusal(400, "InvalidRequest", "the upload ended early")
        if b"application/octet-stream" not in head:
            raise Refusal(415, "invalid_mime_type", "mime type is not supported")
        if len(content) > self.storage.largest:
            raise Refusal(413, "Payload too large", "The object exceeded the maximum allowed size")
        with self.storage.lock:
            if target.exists() and self.headers.get("x-upsert") != "true":
                raise Refusal(409, "Duplicate", "The resource already exists")
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(content)
        return {"Key": f"{bucket}/{'/'.join(name)}", "Id": "1"}

    def _remove(self, bucket: str, names: list[str]) -> list[dict[str, Any]]:
        found = [name for name in names if self.storage.object(bucket, name).is_file()]
        for name in found:
            self.storage.object(bucket, name).unlink()
        return [{"name": name} for name in found]

    def _existing(self, bucket: str, name: list[str]) -> Path:
        path = self.storage.object(bucket, "/".join(name))
        if not path.is_file():
            raise Refusal(404, "not_found", "Object not found")
        return path

    def _read(self, bucket: str, name: list[str]) -> tuple[str, bytes]:
        return "application/octet-stream", self._existing(bucket, name).read_bytes()

    @staticmethod
    def _json(answer: Any) -> tuple[str, bytes]:
        return "application/json", json.dumps(answer).encode()

    def _send(self, status: int, content: bytes, kind: str, fault: Faults) -> None:
        if fault.damage:
            content = bytes([content[0] ^ 1]) + content[1:]
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if fault.cut:
            self.wfile.write(content[: len(content) // 2])
            self.close_connection = True
            return
        self.wfile.write(content)


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that was killed is no error of the server."""


@contextmanager
def storage_server(folder: Path, port: int = 0) -> Iterator[Storage]:
    """A running Storage whose objects lie in `folder`; `port` 0 takes a free one."""
    storage = Storage(folder)
    for bucket in folder.iterdir() if folder.is_dir() else ():
        storage.buckets[bucket.name] = False
    server = _Server(("127.0.0.1", port), type("Handler", (_Handler,), {"storage": storage}))
    storage.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield storage
    finally:
        storage.faults = Faults(times=0)
        server.shutdown()
        thread.join()
        server.server_close()
