"""Supabase's auth replaced at the wire: a loopback server that speaks the endpoints of GoTrue that we use."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit
from uuid import uuid4

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, rsa

PUBLISHABLE_KEY = "sb_publishable_of_the_tests"
API_VERSION = {"X-Supabase-Api-Version": "2024-01-01"}


class AuthServer:
    """Users, sessions and signing keys of one project; what the handler answers from."""

    def __init__(self) -> None:
        self.url = ""
        self.lock = threading.Lock()
        self.users: dict[str, dict[str, Any]] = {}
        self.sessions: dict[str, str] = {}
        """Refresh token to user's id."""
        self.ended: list[tuple[str, str]] = []
        """(user's id, scope) of each logout."""
        self.keys: dict[str, Any] = {}
        self.signing = ""
        self.is_down = False
        self.needs_confirmation = False
        self.requests: list[str] = []
        self.redirects_to = ""
        """Address that every request is sent on to."""
        self.keys_text: Iterable[bytes] | None = None
        """Sent in place of the key set, piece by piece."""
        self.may_send_keys = threading.Event()
        self.may_send_keys.set()
        self.rotate()

    def rotate(self, *, kind: str = "ES256") -> str:
        """Signs with a new key from now on, beside the old ones; the new key's id."""
        key_id = str(uuid4())
        self.keys[key_id] = (
            ec.generate_private_key(ec.SECP256R1())
            if kind == "ES256"
            else rsa.generate_private_key(public_exponent=65537, key_size=2048)
        )
        self.signing = key_id
        return key_id

    def public_keys(self) -> dict[str, Any]:
        """The key set as it is published."""
        found = []
        for key_id, key in self.keys.items():
            is_ec = isinstance(key, ec.EllipticCurvePrivateKey)
            algorithm: Any = jwt.algorithms.ECAlgorithm if is_ec else jwt.algorithms.RSAAlgorithm
            public = json.loads(algorithm.to_jwk(key.public_key()))
            found.append({**public, "kid": key_id, "alg": "ES256" if is_ec else "RS256", "use": "sig"})
        return {"keys": found}

    def claims(self, user_id: str, **given: Any) -> dict[str, Any]:
        """What Supabase says in a token."""
        issued = int(time.time())
        usual = {
            "iss": f"{self.url}/auth/v1",
            "aud": "authenticated",
            "sub": user_id,
            "role": "authenticated",
            "session_id": str(uuid4()),
            "iat": issued,
            "exp": issued + 3600,
            "email": next((u["email"] for u in self.users.values() if u["id"] == user_id), ""),
        }
        return {name: value for name, value in {**usual, **given}.items() if value is not None}

    def token(self, user_id: str, **given: Any) -> str:
        """An access token, signed with the newest key."""
        key = self.keys[self.signing]
        algorithm = "ES256" if isinstance(key, ec.EllipticCurvePrivateKey) else "RS256"
        return jwt.encode(self.claims(user_id, **given), key, algorithm=algorithm, headers={"kid": self.signing})

    def add_user(self, email: str, password: str) -> str:
        """The id of a new user."""
        user_id = str(uuid4())
        self.users[email] = {"id": user_id, "email": email, "password": password}
        return user_id

    def session_of(self, user: dict[str, Any]) -> dict[str, Any]:
        refresh_token = uuid4().hex[:12]
        self.sessions[refresh_token] = user["id"]
        return {
            "access_token": self.token(user["id"]),
            "token_type": "bearer",
            "expires_in": 3600,
            "expires_at": int(time.time()) + 3600,
            "refresh_token": refresh_token,
            "user": public_user(user),
        }

    def user_of(self, authorization: str) -> dict[str, Any] | None:
        claims = jwt.decode(authorization.removeprefix("Bearer "), options={"verify_signature": False})
        return next((user for user in self.users.values() if user["id"] == claims.get("sub")), None)


def public_user(user: dict[str, Any]) -> dict[str, Any]:
    return {
        "id": user["id"],
        "aud": "authenticated",
        "role": "authenticated",
        "email": user["email"],
        "app_metadata": {},
        "user_metadata": {},
        "identities": [],
        "created_at": "2026-11-21T08:30:00Z",
        "updated_at": "2026-11-21T08:30:00Z",
    }


def _answer(server: AuthServer, method: str, target: str, body: dict[str, Any], auth: str) -> tuple[int, Any]:
    parts = urlsplit(target)
    path, query = parts.path.removeprefix("/auth/v1"), parse_qs(parts.query)
    if path == "/.well-known/jwks.json":
        return 200, server.public_keys()
    if path == "/signup":
        if body["email"] in server.users:
            return 422, {"code": "user_already_exists", "message": "User already registered"}
        server.add_user(body["email"], body["password"])
        user = server.users[body["email"]]
        return 200, public_user(user) if server.needs_confirmation else server.session_of(user)
    if path == "/token" and query["grant_type"] == ["password"]:
        found = server.users.get(body["email"])
        if found is None or found["password"] != body["password"]:
            return 400, {"code": "invalid_credentials", "message": "Invalid login credentials"}
        if found.get("banned"):
            return 400, {"code": "user_banned", "message": "User is banned"}
        return 200, server.session_of(found)
    if path == "/token" and query["grant_type"] == ["refresh_token"]:
        user_id = server.sessions.pop(body["refresh_token"], None)
        if user_id is None:
            return 400, {"code": "refresh_token_not_found", "message": "Invalid Refresh Token"}
        return 200, server.session_of(next(u for u in server.users.values() if u["id"] == user_id))
    user_or_none = server.user_of(auth)
    if user_or_none is None:
        return 403, {"code": "bad_jwt", "message": "invalid JWT"}
    if path == "/user" and method == "GET":
        return 200, public_user(user_or_none)
    if path == "/user" and method == "PUT":
        user_or_none["password"] = body["password"]
        return 200, public_user(user_or_none)
    if path == "/logout":
        server.ended.append((user_or_none["id"], query["scope"][0]))
        return 204, None
    return 404, {"code": "not_found", "message": "not found"}


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    state: AuthServer

    def _serve(self) -> None:
        length = int(self.headers.get("content-length") or 0)
        text = self.rfile.read(length)
        state = self.state
        if "jwks" in self.path:
            state.may_send_keys.wait(30)
        if state.redirects_to or ("jwks" in self.path and state.keys_text is not None):
            self._serve_something_else()
            return
        with state.lock:
            state.requests.append(f"{self.command} {self.path}")
            if state.is_down:
                status, reply = 503, {"message": "Service Unavailable"}
            elif "jwks" not in self.path and self.headers.get("apikey") != PUBLISHABLE_KEY:
                status, reply = 401, {"message": "No API key found in request"}
            else:
                body = json.loads(text) if text else {}
                status, reply = _answer(state, self.command, self.path, body, self.headers.get("authorization", ""))
        content = b"" if reply is None else json.dumps(reply).encode()
        self.send_response(status)
        for name, value in API_VERSION.items():
            self.send_header(name, value)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def _serve_something_else(self) -> None:
        state = self.state
        state.requests.append(f"{self.command} {self.path}")
        self.close_connection = True
        self.send_response(307 if state.redirects_to else 200)
        if state.redirects_to:
            self.send_header("Location", state.redirects_to + self.path)
        self.send_header("Connection", "close")
        self.end_headers()
        try:
            for piece in () if state.redirects_to else state.keys_text or ():
                self.wfile.write(piece)
        except ConnectionError:
            return  # the client had enough

    do_GET = do_POST = do_PUT = _serve  # noqa: N815

    def log_message(self, format: str, *arguments: Any) -> None:
        """Says nothing."""


@contextmanager
def auth_server() -> Iterator[AuthServer]:
    """A project's auth on a loopback port."""
    state = AuthServer()
    handler = type("Handler", (_Handler,), {"state": state})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    state.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, name="auth-server", kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield state
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
