"""A server process with accounts: what it prints to try works, and its log, however loud, tells no secret."""

from __future__ import annotations

import json
import shlex
import signal
import subprocess
import sys
from pathlib import Path

import httpx

from tests.support.account_cases import PASSWORD, SECRET, bearer, make_key, refresh
from tests.support.databases import Databases
from tests.support.paths import ROOT
from tests.support.server_process import Server
from tests.support.waiting import wait_for

TEXT = "Only its owner reads of the brass astrolabe."
TOKEN_LINE = "TOKEN=$("


def run_curl(line: str, token: str, file: Path) -> httpx.Response:
    """What a line of curl asks for."""
    words = shlex.split(line.replace('"Bearer $TOKEN"', f'"Bearer {token}"').replace("$TOKEN", token))
    assert words.pop(0) == "curl"
    headers, data, files, url = {}, None, None, ""
    while words:
        word = words.pop(0)
        if word == "-H":
            name, _, value = words.pop(0).partition(": ")
            headers[name] = value
        elif word == "-d":
            data = words.pop(0)
        elif word == "-F":
            assert words.pop(0) == "files=@report.pdf"
            files = {"files": (file.name, file.read_bytes())}
        elif word != "-s":
            url = word
    return httpx.request("POST" if data or files else "GET", url, headers=headers, content=data, files=files)


def test_what_the_server_prints_to_try_works_and_its_log_tells_no_secret(databases: Databases, tmp_path: Path) -> None:
    server = Server(
        tmp_path / "data",
        DOCATLAS_ACCOUNTS="local",
        DOCATLAS_TOKEN_SECRET=SECRET,
        DOCATLAS_LOG_LEVEL="debug",
        DOCATLAS_SUPABASE_SERVICE_KEY="the service key of a project",
        **databases.environment(tmp_path / "data"),
    )
    arguments = [sys.executable, "-m", "cli", "serve", "--port", "0", "--data-dir", str(server.data_dir)]
    out, log = tmp_path / "out.txt", tmp_path / "log.txt"
    with out.open("wb") as out_file, log.open("wb") as log_file:
        process = subprocess.Popen(arguments, cwd=ROOT, env=server.environment, stdout=out_file, stderr=log_file)
    try:
        wait_for(lambda: "/v1/search" in out.read_text("utf-8") or process.poll() is not None)
        lines = [line.strip() for line in out.read_text("utf-8").splitlines()]
        added = next(line for line in lines if line.startswith("./docatlas users add "))
        asked_token = next(line for line in lines if line.startswith(TOKEN_LINE))
        upload, search = (line for line in lines if line.startswith("curl"))
        subprocess.run(
            [sys.executable, "-m", "cli", *shlex.split(added)[1:], "--password-stdin"],
            cwd=ROOT,
            env=server.environment,
            input=f"{PASSWORD}\n",
            text=True,
            check=True,
            capture_output=True,
        )
        login, _, only_the_token = asked_token.removeprefix(TOKEN_LINE).removesuffix(")").partition(" | ")
        session_reply = run_curl(login.replace("your password", PASSWORD), "", tmp_path / "none")
        assert session_reply.status_code == 200, session_reply.text
        session = session_reply.json()
        filtered = subprocess.run(
            only_the_token, shell=True, input=session_reply.content, capture_output=True, check=True
        )
        token = filtered.stdout.decode().strip()
        assert token == session["access_token"]
        document = tmp_path / "report.txt"
        document.write_text(TEXT, encoding="utf-8")
        assert run_curl(upload, token, document).status_code == 202
        search = search.replace('"your question"', '"brass astrolabe", "min_score": 0')
        wait_for(lambda: len(run_curl(search, token, document).json()["data"]) == 1)
        assert run_curl(upload, "none", document).status_code == 401
        base = upload.split()[-1].removesuffix("/v1/documents")
        with httpx.Client(base_url=base) as client:
            key = make_key(client, session, "read", "admin")
            key_header = {"X-API-Key": key}
            following = refresh(client, session["refresh_token"]).json()
            told = [client.get(path, headers=key_header).text for path in ("/health", "/metrics", "/v1/capabilities")]
            told.append(client.post("/v1/auth/login", json={"email": "you@example.org", "password": "x" * 40}).text)
            told.append(client.get("/v1/documents", headers=bearer(token[:-3] + "abc")).text)
            client.post("/v1/auth/logout", headers=bearer(following))
        doctor = subprocess.run(
            [sys.executable, "-m", "cli", "doctor", "--data-dir", str(server.data_dir), "--json"],
            cwd=ROOT,
            env=server.environment,
            text=True,
            capture_output=True,
        )
        assert json.loads(doctor.stdout)["checks"]
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0
    finally:
        process.kill()
        process.wait()
    printed = log.read_text("utf-8")
    assert "POST /v1/auth/login" in printed  # as loud as it gets
    told += [printed, out.read_text("utf-8"), doctor.stdout, doctor.stderr]
    secrets = [PASSWORD, SECRET, token, following["access_token"], session["refresh_token"], following["refresh_token"]]
    secrets += [key, TEXT, "$argon2", "the service key of a project", "x" * 40]
    secrets += [
        value.split("@")[0].split(":")[-1] + "@"
        for value in server.environment.values()
        if "://docatlas_server:" in value
    ]
    for text in told:
        for secret in secrets:
            assert secret not in text, (secret[:12], text[max(0, text.find(secret) - 200) :][:300])
