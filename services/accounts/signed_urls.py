"""Signs addresses of files and pictures, so that whoever has one can read that one object for some minutes.

A browser's `<img>`, a PDF viewer and an app's picture widget cannot send a token. The address does it for them.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import logging
import os
import re
import time
import uuid
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlencode

from database.ids import new_id
from services.accounts.principal import Principal
from services.errors import InternalError, Unauthenticated
from services.settings import Settings

_log = logging.getLogger(__name__)

SIGNATURE_PARAMETERS = frozenset({"expires", "signature"})
"""Of the query string."""
KEY_FILE = "signing.key"
"""In the data folder, where no secret is set."""
_KEY_BYTES = 32
_PURPOSE = b"docatlas signed url 1"
"""Keeps this key apart from the one that signs access tokens. Source: NIST SP 800-108, section 5.4 (the label)."""
_USER_BYTES, _MAC_BYTES = 16, 32
_SIGNATURE_CHARS = (_USER_BYTES + _MAC_BYTES) // 3 * 4
_EXPIRES = re.compile(r"[1-9][0-9]{0,11}", re.ASCII)
_STEPS = 10
"""Addresses of one object that are signed within a tenth of their life are the same, so that a browser's cache has it
when a list is read again. An address is valid for nine tenths of `lifetime_s` at least."""


@dataclass(frozen=True, slots=True)
class UrlSigner:
    """Makes and checks `?expires=&signature=`. Thread-safe.

    A signature is bound to the method GET (and so HEAD), the exact path, the owner and the time. It holds the owner's
    id, so that nothing has to be looked up to check it. Any node with the same key accepts what another one signed.
    """

    key: bytes = field(repr=False)
    lifetime_s: int
    clock: Callable[[], float] = time.time

    def sign(self, path: str, user_id: str, *, expires_at: float | None = None) -> str:
        """`path`, which has no query, with the parameters that let anybody read it in the name of the user.

        `expires_at` is in Unix seconds; None: `lifetime_s` from now.
        """
        expires = self._expiry() if expires_at is None else int(expires_at)
        user = uuid.UUID(user_id).bytes
        signature = base64.urlsafe_b64encode(user + self._mac(path, user, expires)).decode("ascii")
        return f"{path}?{urlencode({'expires': expires, 'signature': signature})}"

    def verify(self, path: str, expires: str, signature: str) -> Principal:
        """Who signed this path: a principal that may only read.

        Raises Unauthenticated (`invalid_signature`, `signature_expired`).
        """
        if _EXPIRES.fullmatch(expires) is None or len(signature) != _SIGNATURE_CHARS:
            raise invalid_signature()
        try:
            shown = base64.b64decode(signature.encode("ascii"), altchars=b"-_", validate=True)
        except (UnicodeEncodeError, binascii.Error) as error:
            raise invalid_signature() from error
        user, mac = shown[:_USER_BYTES], shown[_USER_BYTES:]
        if not hmac.compare_digest(mac, self._mac(path, user, int(expires))):
            raise invalid_signature()
        # After the signature: of a forged address nothing is told.
        if int(expires) <= self.clock():
            raise Unauthenticated(
                "The address of the file has expired. Ask for the document or the search again: the answer has a new "
                "one.",
                code="signature_expired",
            )
        return Principal(str(uuid.UUID(bytes=user)), "signed_url", frozenset({"read"}), expires_at=float(expires))

    def _expiry(self) -> int:
        step = max(1, self.lifetime_s // _STEPS)
        return int(self.clock()) // step * step + self.lifetime_s

    def _mac(self, path: str, user: bytes, expires: int) -> bytes:
        # The path, which alone has no fixed form, comes last.
        message = b"GET\n%d\n%b\n%b" % (expires, user.hex().encode(), path.encode("utf-8", "surrogatepass"))
        return hmac.new(self.key, message, hashlib.sha256).digest()


def open_signer(settings: Settings) -> UrlSigner | None:
    """The signer that the settings ask for; None without accounts.

    Its key is derived from `token_secret`; where none is set, it lies in the data folder, which then is made.
    """
    if settings.accounts == "none":
        return None
    secret = settings.token_secret
    given = b"" if secret is None else secret.get_secret_value().encode()
    master = given or _key_of_file(settings.data_dir / KEY_FILE)
    return UrlSigner(hmac.new(master, _PURPOSE, hashlib.sha256).digest(), settings.signed_url_s)


def _key_of_file(path: Path) -> bytes:
    """The key in the file, which is made where it is missing; only its owner can read it."""
    try:
        return _read_key(path)
    except FileNotFoundError:
        pass
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    staged = path.with_name(f".{path.name}-{new_id()}")
    descriptor = os.open(staged, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(os.urandom(_KEY_BYTES))
            file.flush()
            os.fsync(file.fileno())
        with suppress(FileExistsError):
            os.link(staged, path)  # unlike a rename, it never takes the place of another process's key
    finally:
        staged.unlink(missing_ok=True)
    return _read_key(path)


def _read_key(path: Path) -> bytes:
    descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_CLOEXEC", 0))
    with os.fdopen(descriptor, "rb") as file:
        if os.name == "posix" and os.fstat(file.fileno()).st_mode & 0o077:
            _log.warning("%s could be read by others. Only its owner can now; remove it to have a new key made.", path)
            os.fchmod(file.fileno(), 0o600)
        key = file.read(_KEY_BYTES + 1)
    if len(key) != _KEY_BYTES:
        raise InternalError(
            f"{path} holds no key. Remove it: a new one is made at the next start.", code="signing_key_damaged"
        )
    return key


def invalid_signature() -> Unauthenticated:
    return Unauthenticated(
        "The signature does not fit this address. Use the address as the answer gave it, unchanged.",
        code="invalid_signature",
    )
