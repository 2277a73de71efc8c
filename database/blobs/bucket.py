"""One private bucket of Supabase Storage over the `supabase` client.

Calls are retried, and errors are translated once.

Source: https://github.com/supabase/storage, `src/http/error-handler.ts`: a refusal is HTTP 400, and its JSON body
carries the status that is meant (`statusCode`), which storage3 hands on as `StorageApiError.status`.
"""

from __future__ import annotations

import hashlib
import logging
import re
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar
from urllib.parse import quote

import httpx

from database.blobs.base import BlobEntry, is_sha256
from database.errors import BlobDamaged, BlobsRefused, BlobsUnavailable

if TYPE_CHECKING:
    from storage3 import SyncStorageClient
    from storage3._sync.file_api import SyncBucketProxy
    from storage3.exceptions import StorageApiError
    from storage3.types import FileOptions, SearchV2Options, SearchV2Result
    from supabase import Client

T = TypeVar("T")

_log = logging.getLogger(__name__)

ATTEMPTS = 3
"""Of one call; the second waits BACKOFF_S, the third four times that."""
BACKOFF_S = 0.25
PATIENCE_S = 20.0
"""No further attempt begins after this: who hangs for longer is down."""
REST_S, LONGEST_REST_S = 5.0, 60.0
"""After a call has failed, the next ones fail at once for so long: no request waits for what is known to be down.

It doubles with each failure in a row, up to the second.
"""
CONNECT_TIMEOUT_S, IO_TIMEOUT_S = 5.0, 20.0
"""The second is about one read or write of some kilobytes, not about a whole file."""
STEP_BYTES = 256 * 1024
"""Read from a download at once."""
LIST_STEP = 1000
"""Names in one page of a listing."""
MEDIA_TYPE = "application/octet-stream"
"""Of every object: the same bytes may have several names and types, and nothing is to run in Storage's origin."""

_TRANSIENT = frozenset({408, 409, 423, 425, 429, 544})
"""Beside 5xx. 409 is another upload of the same name, 423 a lock, 544 a time-out of Storage's database.

Source: Supabase's documentation, "Storage error codes".
"""


class StorageBucket:
    """The bucket `name` of the project at `url`, used with its service key.

    Thread-safe; opens nothing until used. Every method raises BlobsUnavailable when Storage does not answer, and
    BlobsRefused when it refuses the key, the bucket is public, or a file is too large for it.
    """

    def __init__(
        self,
        url: str,
        service_key: str,
        name: str,
        *,
        io_timeout_s: float = IO_TIMEOUT_S,
        backoff_s: float = BACKOFF_S,
        rest_s: float = REST_S,
    ) -> None:
        self._url = url.rstrip("/")
        self._key = service_key
        self._name = name
        self._backoff_s, self._rest_s = backoff_s, rest_s
        # Our own connections, with HTTP/1.1: one stalled transfer then holds up no other.
        self._http = httpx.Client(
            timeout=httpx.Timeout(io_timeout_s, connect=CONNECT_TIMEOUT_S),
            limits=httpx.Limits(max_connections=32, max_keepalive_connections=16),
            follow_redirects=True,
        )
        self._lock = threading.Lock()
        self._client: Client | None = None
        self._is_private = False
        self._was_seen = False
        self._failures = 0
        self._rests_until = 0.0
        self._problem = ""

    @property
    def problem(self) -> str:
        """What the last call failed at; empty when it went well, or there was none."""
        return self._problem

    def check(self) -> None:
        """Makes the bucket where it is missing. Raises BlobsRefused when it is public."""
        self._is_private = False
        self._try(lambda: None)

    def size(self, sha256: str) -> int | None:
        """Bytes of the object; None where there is none."""
        try:
            return self._try(lambda: int(self._objects().info(object_path(sha256))["size"]))
        except FileNotFoundError:
            return None

    def upload(self, sha256: str, path: Path) -> None:
        """Stores the file at `path`.

        An object that is there already is written again with the same bytes. The file is read while it is sent:
        storage3's multipart upload keeps 64 kB of it in memory. Raises FileNotFoundError when `path` has gone.
        """
        options: FileOptions = {"content-type": MEDIA_TYPE, "upsert": "true", "cache-control": "0"}

        def send() -> None:
            with path.open("rb") as file:
                self._objects().upload(object_path(sha256), file, options)

        self._try(send)

    def download(self, sha256: str, target: Path) -> None:
        """Writes the object to `target`, checked against its name.

        Raises FileNotFoundError, BlobDamaged. storage3's `download` reads the whole object into memory; this asks for
        the same address and writes as it reads.
        """
        try:
            self._try(lambda: self._download(sha256, target))
        except BlobDamaged:
            # Once more: what was damaged on the way comes whole the second time.
            self._try(lambda: self._download(sha256, target))

    def remove(self, sha256s: Sequence[str]) -> None:
        """Removes the objects that are there, in one request that is made once."""
        self._try(lambda: self._objects().remove([object_path(sha256) for sha256 in sha256s]), attempts=1)

    def entries(self) -> Iterator[BlobEntry]:
        """Every object that is named as ours are, in the order of their names."""
        cursor: str | None = None
        while True:
            page = self._try(partial(self._list, cursor))
            for item in page.objects:
                sha256 = (item.key or item.name).rpartition("/")[2]
                if is_sha256(sha256):
                    yield BlobEntry(sha256, item.updated_at.timestamp())
            cursor = page.nextCursor
            if not page.hasNext or cursor is None:
                return

    def signed_url(self, sha256: str, *, filename: str, expires_s: int) -> str:
        """An address that serves the object for `expires_s` seconds.

        It is a download named `filename`. Raises FileNotFoundError.
        """
        signed = self._try(
            lambda: self._objects().create_signed_url(object_path(sha256), expires_s, {"download": filename})
        )
        return signed["signedUrl"] or ""

    def close(self) -> None:
        self._http.close()

    def _list(self, cursor: str | None) -> SearchV2Result:
        options: SearchV2Options = {"limit": LIST_STEP}
        if cursor is not None:
            options["cursor"] = cursor
        return self._objects().list_v2(options)

    def _download(self, sha256: str, target: Path) -> None:
        headers = {"apikey": self._key, "Authorization": f"Bearer {self._key}", "Accept-Encoding": "identity"}
        address = f"{self._url}/storage/v1/object/authenticated/{quote(self._name, safe='')}/{object_path(sha256)}"
        with self._http.stream("GET", address, headers=headers) as reply:
            if reply.status_code != httpx.codes.OK:
                reply.read()
                raise _api_error(reply)
            digest = hashlib.sha256()
            with target.open("wb") as file:
                for step in reply.iter_bytes(STEP_BYTES):
                    digest.update(step)
                    file.write(step)
        if digest.hexdigest() != sha256:
            raise BlobDamaged(f"the object {object_path(sha256)} in Storage does not hold what it was stored with")

    def _storage(self) -> SyncStorageClient:
        with self._lock:
            if self._client is None:
                from supabase import ClientOptions, create_client

                options = ClientOptions(httpx_client=self._http, auto_refresh_token=False, persist_session=False)
                self._client = create_client(self._url, self._key, options)
            return self._client.storage

    def _objects(self) -> SyncBucketProxy:
        return self._storage().from_(self._name)

    def _require_private(self) -> None:
        if self._is_private:
            return
        from storage3.exceptions import StorageApiError

        storage = self._storage()
        try:
            found = storage.get_bucket(self._name)
        except StorageApiError as error:
            if _status(error) != 404:
                raise
            if self._was_seen:
                raise BlobsRefused(f"the bucket {self._name!r} of Supabase Storage is gone") from error
            try:
                storage.create_bucket(self._name, options={"public": False})
            except StorageApiError as race:
                if _status(race) != 409:
                    raise
            found = storage.get_bucket(self._name)
        if found.public:
            raise BlobsRefused(
                f"the bucket {self._name!r} of Supabase Storage is public: everybody could read its files. "
                "Make it private, or name another with DOCATLAS_STORAGE_BUCKET"
            )
        self._is_private = self._was_seen = True

    def _try(self, call: Callable[[], T], *, attempts: int = ATTEMPTS) -> T:
        """What `call` returns, tried again while it fails at what may pass."""
        if time.monotonic() < self._rests_until:
            raise BlobsUnavailable(self._problem)
        began = time.monotonic()
        for attempt in range(1, attempts + 1):
            try:
                with _translated():
                    self._require_private()
                    result = call()
            except BlobsRefused as error:
                self._problem, self._is_private = str(error), False
                raise
            except BlobsUnavailable as error:
                self._is_private = False  # looked at again
                if attempt < attempts and time.monotonic() - began < PATIENCE_S:
                    time.sleep(self._backoff_s * 4 ** (attempt - 1))
                    continue
                self._problem = str(error)
                rest_s = min(LONGEST_REST_S, self._rest_s * 2**self._failures)
                self._failures = min(self._failures + 1, 10)
                self._rests_until = time.monotonic() + rest_s
                raise
            except (FileNotFoundError, BlobDamaged):
                self._problem, self._failures = "", 0
                raise
            self._problem, self._failures = "", 0
            return result
        raise AssertionError("the last attempt returns or raises")


def object_path(sha256: str) -> str:
    """Where the file lies in the bucket."""
    return f"{sha256[:2]}/{sha256[2:4]}/{sha256}"


@contextmanager
def _translated() -> Iterator[None]:
    """Turns what httpx and storage3 raise into errors of the store.

    BlobsUnavailable, BlobsRefused or FileNotFoundError.
    """
    from storage3.exceptions import StorageApiError

    try:
        yield
    except httpx.HTTPError as error:
        raise BlobsUnavailable(f"Supabase Storage cannot be reached ({type(error).__name__})") from error
    except StorageApiError as error:
        raise _translate(error) from error
    except (KeyError, TypeError, ValueError) as error:
        # storage3 reads answers without looking: a proxy's page instead of JSON, or a field that is not there.
        raise BlobsUnavailable("Supabase Storage gave an answer that cannot be read") from error


def _translate(error: StorageApiError) -> Exception:
    status = _status(error)
    code = re.sub(r"[^A-Za-z0-9_ ]", "", str(error.code))[:40]
    if status == 404 and "bucket" not in f"{error.code} {error.message}".casefold():
        return FileNotFoundError(2, "the stored file is missing")
    if status >= 500 or status in _TRANSIENT or status == 404:
        return BlobsUnavailable(f"Supabase Storage answers {status} {code}")
    if status == 413:
        return BlobsRefused("the file is larger than Supabase Storage takes; raise the limit of the bucket and project")
    if status in (401, 403):
        return BlobsRefused(f"Supabase Storage does not accept DOCATLAS_SUPABASE_SERVICE_KEY ({status} {code})")
    return BlobsRefused(f"Supabase Storage refuses what it is asked: {status} {code}")


def _status(error: StorageApiError) -> int:
    """The status that Storage means; 500 where it says none."""
    text = str(error.status)
    return int(text) if re.fullmatch(r"[1-9]\d\d", text, re.ASCII) else 500


def _api_error(reply: httpx.Response) -> StorageApiError:
    """The refusal in `reply`, as storage3 would raise it."""
    from storage3.exceptions import StorageApiError

    try:
        body = reply.json()
        return StorageApiError(str(body["message"]), str(body["error"]), str(body["statusCode"]))
    except (KeyError, TypeError, ValueError):
        return StorageApiError("", "InternalError", reply.status_code)
