"""What somebody without an account can make a real server hold, and who is served meanwhile."""

from __future__ import annotations

import json
import select
import socket
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, suppress
from http.client import HTTPResponse
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
from filelock import FileLock

from tests.support.server_process import Server
from tests.support.waiting import wait_for

StartServer = Callable[..., Server]

MEMORY_BOUND = 48 * 1024**2
"""Bytes that an attack may add to the process. Each one here would take hundreds of megabytes without limits."""
PROXY = {"DOCATLAS_TRUSTED_PROXIES": '["127.0.0.1"]'}


def _connect(server: Server, source: str = "127.0.0.1") -> socket.socket:
    port = int(server.base.rpartition(":")[2])
    return socket.create_connection(("127.0.0.1", port), timeout=60, source_address=(source, 0))


def _send(connection: socket.socket, data: bytes) -> bool:
    try:
        connection.sendall(data)
    except OSError:
        return False
    return True


def _answer(connection: socket.socket) -> tuple[int, dict[str, str], Any]:
    """Status, headers by lower-case name, and JSON of the answer on `connection`."""
    response = HTTPResponse(connection)
    response.begin()
    return response.status, {name.lower(): value for name, value in response.getheaders()}, json.loads(response.read())


def _assert_problem(answer: tuple[int, dict[str, str], Any], status: int, code: str) -> dict[str, str]:
    found, headers, problem = answer
    assert (found, problem["status"], problem["code"]) == (status, status, code), problem
    assert headers["content-type"] == "application/problem+json"
    assert problem["request_id"] == headers["x-request-id"]
    return headers


def _is_open(connection: socket.socket) -> bool:
    """True while the server has sent nothing and not closed."""
    return not select.select([connection], [], [], 0)[0]


def _rss(server: Server) -> int:
    assert server.process is not None
    rss: int = psutil.Process(server.process.pid).memory_info().rss
    return rss


def _get(*lines: str, path: str = "/livez") -> bytes:
    return "\r\n".join([f"GET {path} HTTP/1.1", "Host: 127.0.0.1", *lines, "", ""]).encode()


def _post(body_bytes: int, *lines: str, path: str = "/v1/search") -> bytes:
    head = [f"POST {path} HTTP/1.1", "Host: 127.0.0.1", "Content-Type: application/json"]
    return "\r\n".join([*head, f"Content-Length: {body_bytes}", *lines, "", ""]).encode()


@pytest.fixture
def attackers() -> Iterator[ExitStack]:
    """Closes the connections that a test enters into it."""
    with ExitStack() as stack:
        yield stack


class TestHeaders:
    def test_headers_without_end_are_refused_before_they_take_memory(self, start_limited: StartServer) -> None:
        server = start_limited()
        before = _rss(server)
        lines = b"".join(b"X-%d: %b\r\n" % (number, b"a" * 40) for number in range(2000))
        with closing(_connect(server)) as connection:
            _send(connection, b"GET /livez HTTP/1.1\r\nHost: 127.0.0.1\r\n")
            sent = 0
            while sent < 60_000_000 and _send(connection, lines):
                sent += len(lines)
                assert _rss(server) - before < MEMORY_BOUND
        assert sent < 60_000_000
        assert _rss(server) - before < MEMORY_BOUND
        assert httpx.get(f"{server.base}/livez").status_code == 200

    @pytest.mark.parametrize(
        "request_bytes",
        [
            _get(*(f"X-{number}: a" for number in range(41))),
            _get("X-Long: " + "a" * 9000),
            _get(path="/livez?" + "a" * 9000),
            b"GET /livez HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Long: " + b"a" * 300_000,  # a line that does not end
            b"GET /" + b"a" * 300_000,
        ],
        ids=["many", "long", "target", "endless line", "endless target"],
    )
    def test_too_many_or_too_long_headers_are_431(self, small: Server, request_bytes: bytes) -> None:
        with closing(_connect(small)) as connection:
            _send(connection, request_bytes)
            headers = _assert_problem(_answer(connection), 431, "headers_too_large")
            assert headers["connection"] == "close"

    def test_as_many_headers_as_allowed_are_served_again_and_again(self, small: Server) -> None:
        request = _get(*(f"X-{number}: {'a' * 150}" for number in range(35)))
        with closing(_connect(small)) as connection:
            for _ in range(5):
                assert _send(connection, request)
                assert _answer(connection)[0] == 200

    def test_trailers_without_end_are_not_kept(self, small: Server) -> None:
        before = _rss(small)
        with closing(_connect(small)) as connection:
            _send(
                connection,
                b"POST /v1/search HTTP/1.1\r\nHost: 127.0.0.1\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n",
            )
            sent = 0
            while sent < 60_000_000 and _send(connection, b"X-Trailer: a\r\n" * 5000):
                sent += 70_000
        assert sent < 60_000_000
        assert _rss(small) - before < MEMORY_BOUND

    def test_headers_that_take_too_long_are_408(self, small: Server) -> None:
        with closing(_connect(small)) as connection:
            assert _send(connection, b"GET /livez HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Half: ")
            _assert_problem(_answer(connection), 408, "request_timeout")
            assert connection.recv(1) == b""

    def test_headers_that_drip_are_given_up(self, small: Server) -> None:
        with closing(_connect(small)) as connection:
            assert _send(connection, b"GET /livez HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Half: ")
            for _ in range(600):
                if not _is_open(connection):
                    break
                _send(connection, b"a")
                time.sleep(0.1)
            _assert_problem(_answer(connection), 408, "request_timeout")

    @pytest.mark.parametrize("first", [b"", b"\r\n", _get()], ids=["nothing", "an empty line", "a request"])
    def test_connection_without_a_request_is_closed(self, small: Server, first: bytes) -> None:
        with closing(_connect(small)) as connection:
            assert _send(connection, first)
            while connection.recv(4096):
                pass

    def test_requests_sent_far_ahead_of_answers_end_the_connection(self, small: Server) -> None:
        with closing(_connect(small)) as connection:
            assert _send(connection, _get() * 8)
            said = b""
            while said.count(b"HTTP/1.1 200") < 8:
                piece = connection.recv(65536)
                assert piece, said
                said += piece
            _send(connection, _get() * 5000)
            assert _everything(connection).count(b"HTTP/1.1 200") < 5000

    def test_what_is_no_http_is_a_problem(self, small: Server) -> None:
        with closing(_connect(small)) as connection:
            assert _send(connection, b"EHLO example.org\r\n\r\n")
            _assert_problem(_answer(connection), 400, "malformed_request")


class TestBodies:
    def test_half_sent_bodies_take_little_memory_end_and_give_it_back(
        self, start_limited: StartServer, attackers: ExitStack
    ) -> None:
        server = start_limited(
            DOCATLAS_BODY_TIMEOUT_S="4", DOCATLAS_BODY_WINDOW_S="3", DOCATLAS_MAX_BODY_MEMORY_BYTES=str(16 * 1024**2)
        )
        before = _rss(server)
        half = _post(8_000_000) + b'{"query": "' + b"a" * 7_000_000
        connections = [attackers.enter_context(closing(_connect(server))) for _ in range(40)]
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(lambda connection: _send(connection, half), connections))
        assert _rss(server) - before < MEMORY_BOUND
        with server.client() as client:
            assert client.post("/v1/search", json={"query": "harbour"}).status_code == 200
        answers = [_answer(connection) for connection in connections]
        assert {answer[0] for answer in answers} == {408, 503}
        for answer in answers:
            if answer[0] == 408:
                _assert_problem(answer, 408, "request_timeout")
            else:
                assert "retry-after" in _assert_problem(answer, 503, "body_memory_full")
        wait_for(lambda: _rss(server) - before < MEMORY_BOUND // 2)

    @pytest.mark.parametrize("sent", [b"", b'{"query": ', b'{"query": "' + b"a" * 50_000])
    @pytest.mark.parametrize("path", ["/v1/search", "/v1/nowhere", "/v1/documents"])
    def test_half_sent_body_ends_by_time_wherever_it_is_sent(self, small: Server, path: str, sent: bytes) -> None:
        kind = "multipart/form-data; boundary=x" if path == "/v1/documents" else "application/json"
        head = f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: {kind}\r\nContent-Length: 900000\r\n\r\n"
        with closing(_connect(small)) as connection:
            assert _send(connection, head.encode() + sent)
            status, _, problem = _answer(connection)
            assert (status, problem["code"]) in ((408, "request_timeout"), (404, "route_not_found"))
            assert path == "/v1/nowhere" or status == 408
            while connection.recv(4096):
                pass

    @pytest.mark.parametrize("path", ["/v1/search", "/v1/documents"])
    def test_body_that_drips_is_given_up(self, small: Server, path: str) -> None:
        kind = "multipart/form-data; boundary=x" if path == "/v1/documents" else "application/json"
        head = f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: {kind}\r\nContent-Length: 900000\r\n\r\n"
        with closing(_connect(small)) as connection:
            assert _send(connection, head.encode())
            for _ in range(600):
                if not _is_open(connection):
                    break
                _send(connection, b" ")
                time.sleep(0.1)
            _assert_problem(_answer(connection), 408, "request_timeout")

    def test_slow_upload_at_the_least_rate_is_stored(self, small: Server) -> None:
        """It takes far longer than a JSON body may."""
        part = b'--x\r\nContent-Disposition: form-data; name="files"; filename="slow.txt"\r\n\r\n'
        pieces = [part, *(b"The pier is built of basalt.\n" * 40 for _ in range(16)), b"\r\n--x--\r\n"]
        length = sum(map(len, pieces))
        head = "POST /v1/documents HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: multipart/form-data; boundary=x\r\n"
        with closing(_connect(small)) as connection:
            assert _send(connection, f"{head}Content-Length: {length}\r\n\r\n".encode())
            began = time.monotonic()
            for piece in pieces:
                assert _send(connection, piece)
                time.sleep(0.4)
            assert time.monotonic() - began > 2 * float(SMALL["DOCATLAS_BODY_TIMEOUT_S"])
            status, _, answer = _answer(connection)
            assert status == 202, answer
            assert answer["data"][0]["outcome"] == "created", answer

    def test_who_is_not_let_in_gets_no_more_time_or_memory(self, start_limited: StartServer) -> None:
        server = start_limited(DOCATLAS_ACCOUNTS="local", DOCATLAS_TOKEN_SECRET="s" * 32, **SMALL)
        for path in ("/v1/search", "/v1/documents"):
            with closing(_connect(server)) as connection:
                assert _send(connection, _post(900_000, path=path) + b'{"query": ')
                _assert_problem(_answer(connection), 401, "unauthenticated")
        with closing(_connect(server)) as connection:
            assert _send(connection, _post(900_000, path="/v1/auth/login") + b'{"email": ' + b" " * 100_000)
            _assert_problem(_answer(connection), 413, "body_too_large")
        login = {"email": "nobody@example.org", "password": "a" * 70_000}
        answer = httpx.post(f"{server.base}/v1/auth/login", json=login)
        assert (answer.status_code, answer.json()["limit"]) == (413, 64 * 1024)

    def test_form_with_more_fields_than_any_call_knows_is_refused(self, small: Server) -> None:
        fields = {f"field{number}": "a" for number in range(40)}
        answer = httpx.post(f"{small.base}/v1/documents", data=fields, files={"files": ("a.txt", b"text")})
        assert (answer.status_code, answer.json()["code"]) == (422, "invalid_request")


class TestAnswers:
    COUNT = 15
    """Requests sent at once. Their answers are larger than what the system keeps for a client that does not read."""

    def test_client_that_takes_no_answer_is_cut_off(self, small: Server) -> None:
        with closing(_connect(small)) as connection:
            assert _send(connection, _get(path="/openapi.json") * self.COUNT)
            port = connection.getsockname()[1]
            wait_for(lambda: port in _clients(small))
            wait_for(lambda: port not in _clients(small))
            assert _everything(connection).count(b"HTTP/1.1 200") < self.COUNT

    def test_client_that_reads_slowly_gets_all_of_its_answers(self, small: Server) -> None:
        with closing(_connect(small)) as connection:
            assert _send(connection, _get(path="/openapi.json") * self.COUNT)
            said, began = bytearray(), time.monotonic()
            while piece := connection.recv(128 * 1024):
                said += piece
                time.sleep(0.2)
            assert time.monotonic() - began > 2 * float(SMALL["DOCATLAS_ANSWER_STALL_S"])
        one = httpx.get(f"{small.base}/openapi.json").content
        assert said.count(b"HTTP/1.1 200") == said.count(one) == self.COUNT


class TestConnections:
    def test_half_requests_of_one_address_keep_nobody_out(
        self, start_limited: StartServer, attackers: ExitStack
    ) -> None:
        server = start_limited(DOCATLAS_MAX_CONNECTIONS_PER_ADDRESS="20", DOCATLAS_MAX_CONNECTIONS="64")
        half = b"GET /livez HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Half: "
        connections = []
        for number in range(200):
            connections.append(attackers.enter_context(closing(_connect(server))))
            _send(connections[-1], half)
            if number % 20 == 0:
                assert httpx.get(f"{server.base}/livez").status_code == 200
        with closing(_connect(server, "127.0.0.2")) as other:
            assert _send(other, _get())
            assert _answer_status(other) == 200
        assert sum(_is_open(connection) for connection in connections) <= 20

    def test_half_requests_of_many_addresses_keep_nobody_out(
        self, start_limited: StartServer, attackers: ExitStack
    ) -> None:
        server = start_limited(DOCATLAS_MAX_CONNECTIONS_PER_ADDRESS="20", DOCATLAS_MAX_CONNECTIONS="32")
        connections = []
        for number in range(100):
            connections.append(attackers.enter_context(closing(_connect(server, f"127.0.1.{number + 1}"))))
            _send(connections[-1], b"GET /livez HTTP/1.1\r\n")
        assert httpx.get(f"{server.base}/livez").status_code == 200
        assert sum(_is_open(connection) for connection in connections) <= 32

    def test_address_with_as_many_requests_as_allowed_is_429_and_others_are_served(
        self, start_limited: StartServer, attackers: ExitStack
    ) -> None:
        server = start_limited(DOCATLAS_MAX_CONNECTIONS_PER_ADDRESS="10")
        for _ in range(10):
            _send(attackers.enter_context(closing(_connect(server))), _post(100_000) + b"{")
        with closing(_connect(server)) as refused:
            headers = _assert_problem(_answer(refused), 429, "too_many_connections")
            assert int(headers["retry-after"]) >= 1
        with closing(_connect(server, "127.0.0.2")) as other:
            assert _send(other, _get())
            assert _answer_status(other) == 200

    def test_server_with_as_many_requests_as_allowed_is_503(
        self, start_limited: StartServer, attackers: ExitStack
    ) -> None:
        server = start_limited(DOCATLAS_MAX_CONNECTIONS="16")
        held = [attackers.enter_context(closing(_connect(server, f"127.0.1.{n + 1}"))) for n in range(16)]
        for connection in held:
            _send(connection, _post(100_000) + b"{")
        with closing(_connect(server, "127.0.0.2")) as refused:
            headers = _assert_problem(_answer(refused), 503, "too_many_connections")
            assert int(headers["retry-after"]) >= 1
        held[0].close()
        wait_for(lambda: httpx.get(f"{server.base}/livez").status_code == 200)

    def test_streams_and_long_polls_are_counted_apart(self, start_limited: StartServer, attackers: ExitStack) -> None:
        server = start_limited(
            DOCATLAS_MAX_CONNECTIONS_PER_ADDRESS="5", DOCATLAS_MAX_STREAMS_PER_ADDRESS="12", runs_jobs=False
        )
        job_id = _queued_job(server)
        polls = []
        for _ in range(12):
            polls.append(attackers.enter_context(closing(_connect(server))))
            _send(polls[-1], _get(path=f"/v1/jobs/{job_id}?wait=60"))
            time.sleep(0.02)
        assert httpx.get(f"{server.base}/livez").status_code == 200
        assert all(_is_open(poll) for poll in polls)
        refused = httpx.get(f"{server.base}/v1/jobs/{job_id}", params={"wait": 60})
        assert (refused.status_code, refused.json()["code"]) == (429, "too_many_connections")
        assert httpx.get(f"{server.base}/v1/jobs/{job_id}").status_code == 200
        polls[0].close()
        wait_for(lambda: httpx.get(f"{server.base}/v1/jobs/{job_id}", params={"wait": 0.1}).status_code == 200)

    def test_defaults_admit_two_hundred_streams_and_two_hundred_long_polls_and_three_hundred_connections(
        self, start_limited: StartServer, attackers: ExitStack
    ) -> None:
        server = start_limited(runs_jobs=False)
        job_id = _queued_job(server)
        path = f"/v1/jobs/{job_id}?wait=60"
        held = []
        for number in range(400):
            held.append(attackers.enter_context(closing(_connect(server))))
            _send(held[-1], _get("Accept: text/event-stream", path=path) if number % 2 else _get(path=path))
        half = [attackers.enter_context(closing(_connect(server))) for _ in range(300)]
        for connection in half:
            _send(connection, _post(1000) + b"{")
        assert httpx.get(f"{server.base}/livez").status_code == 200
        assert all(_is_open(connection) for connection in [*held, *half])


class TestProxies:
    def test_requests_are_counted_by_the_client_that_a_trusted_proxy_names(
        self, start_limited: StartServer, attackers: ExitStack
    ) -> None:
        server = start_limited(DOCATLAS_MAX_CONNECTIONS_PER_ADDRESS="3", **PROXY)

        def asked(client: str) -> int:
            return httpx.get(f"{server.base}/livez", headers={"X-Forwarded-For": client}).status_code

        for _ in range(3):
            connection = attackers.enter_context(closing(_connect(server)))
            _send(connection, _post(1000, "X-Forwarded-For: 1.1.1.1, 203.0.113.7") + b"{")
        wait_for(lambda: asked("203.0.113.7") == 429)
        assert asked("9.9.9.9, 203.0.113.7") == 429  # what stands on the left was sent by the client
        assert asked("203.0.113.8") == 200
        connections = [attackers.enter_context(closing(_connect(server))) for _ in range(3)]
        for number, connection in enumerate(connections):
            _send(connection, _post(1000, f"X-Forwarded-For: 2001:db8::{number + 1}") + b"{")
        wait_for(lambda: asked("2001:db8::ffff") == 429)  # an IPv6 customer has the whole /64
        assert asked("2001:db8:0:1::1") == 200

    def test_header_of_an_untrusted_peer_is_ignored(self, start_limited: StartServer, attackers: ExitStack) -> None:
        server = start_limited(DOCATLAS_MAX_CONNECTIONS_PER_ADDRESS="3", DOCATLAS_TRUSTED_PROXIES='["127.0.0.9"]')
        for number in range(3):
            connection = attackers.enter_context(closing(_connect(server)))
            _send(connection, _post(1000, f"X-Forwarded-For: 203.0.113.{number}") + b"{")
        with closing(_connect(server)) as refused:
            _assert_problem(_answer(refused), 429, "too_many_connections")
        for client, status in (("127.0.0.1", 429), ("203.0.113.0", 200)):
            with closing(_connect(server, "127.0.0.9")) as proxied:
                assert _send(proxied, _get(f"X-Forwarded-For: {client}"))
                assert _answer_status(proxied) == status

    def test_redirects_say_https_where_a_trusted_proxy_does(self, start_limited: StartServer) -> None:
        trusting, plain = start_limited(**PROXY), start_limited()
        headers = {"X-Forwarded-Proto": "https", "Host": "localhost"}
        answer = httpx.get(f"{trusting.base}/v1/documents/", headers=headers)
        assert (answer.status_code, answer.headers["location"]) == (307, "https://localhost/v1/documents")
        answer = httpx.get(f"{plain.base}/v1/documents/", headers=headers)
        assert (answer.status_code, answer.headers["location"]) == (307, "http://localhost/v1/documents")

    def test_wrong_network_stops_the_start(self, start_limited: StartServer) -> None:
        with pytest.raises(AssertionError, match="DOCATLAS_TRUSTED_PROXIES"):
            start_limited(DOCATLAS_TRUSTED_PROXIES='["proxy.example.org"]')


SMALL = {
    "DOCATLAS_MAX_HEADER_BYTES": "8192",
    "DOCATLAS_MAX_HEADERS": "40",
    "DOCATLAS_HEADERS_TIMEOUT_S": "1.5",
    "DOCATLAS_BODY_TIMEOUT_S": "2.5",
    "DOCATLAS_BODY_WINDOW_S": "1.5",
    "DOCATLAS_ANSWER_STALL_S": "1.5",
}


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server with small limits, which the tests of this module share."""
    server = Server(tmp_path_factory.mktemp("small"), **SMALL)
    server.start()
    yield server
    server.kill()


@pytest.fixture
def start_limited(tmp_path: Path) -> Iterator[StartServer]:
    """A function that starts a server process on SQLite: what is refused here never comes to a database."""
    servers: list[Server] = []
    with ExitStack() as leases:

        def start(*, runs_jobs: bool = True, **environment: str) -> Server:
            folder = tmp_path / f"data-{len(servers)}"
            if not runs_jobs:
                folder.mkdir(mode=0o700)
                leases.enter_context(FileLock(folder / "worker.lock"))
            servers.append(Server(folder, **environment))
            servers[-1].start()
            return servers[-1]

        yield start
        for server in servers:
            if server.process is not None:
                server.kill()


def _answer_status(connection: socket.socket) -> int:
    """The status of the next answer; 0 where the connection ended."""
    try:
        response = HTTPResponse(connection)
        response.begin()
        response.read()
    except OSError:
        return 0
    return response.status


def _clients(server: Server) -> set[int]:
    """The ports of the clients to which the server holds a connection."""
    assert server.process is not None
    found = psutil.Process(server.process.pid).net_connections("tcp")
    return {connection.raddr.port for connection in found if connection.raddr}


def _everything(connection: socket.socket) -> bytes:
    """What comes until the connection ends."""
    said = bytearray()
    with suppress(ConnectionError):
        while piece := connection.recv(65536):
            said += piece
    return bytes(said)


def _queued_job(server: Server) -> str:
    """The id of a job that nobody runs; the test holds the worker's lease."""
    answer = httpx.post(f"{server.base}/v1/documents", files={"files": ("a.txt", b"Text.\n")})
    job_id: str = answer.json()["data"][0]["job"]["id"]
    return job_id
