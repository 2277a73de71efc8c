"""The command line and a server at work on the same data folder."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
from PIL import Image

from tests.support.command_line import Cli
from tests.support.databases import Databases
from tests.support.paths import ROOT
from tests.support.server_process import Server
from tests.support.waiting import wait_for

StartServer = Callable[..., Server]


def _cli(server: Server, *arguments: str, code: int = 0) -> Any:
    """What a command in a process of its own prints; `Cli` runs the same code in this one."""
    done = subprocess.run(
        [sys.executable, "-m", "cli", *arguments, "--data-dir", str(server.data_dir), "--json"],
        cwd=ROOT,
        env=server.environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == code, done.stdout + done.stderr
    return json.loads(done.stdout)


def _found(client: httpx.Client, query: str) -> list[str]:
    answer = client.post("/v1/search", json={"query": query, "min_score": 0})
    assert answer.status_code == 200, answer.text
    return [hit["document"]["filename"] for hit in answer.json()["data"]]


def test_server_finds_what_the_command_line_ingests_and_no_more_what_it_deletes(
    start_server: StartServer, cli: Cli, tmp_path: Path
) -> None:
    server = start_server()
    first, second = tmp_path / "first.txt", tmp_path / "second.txt"
    first.write_text("The quay wall was built of basalt.\n", encoding="utf-8")
    second.write_text("The lighthouse was painted white.\n", encoding="utf-8")
    with server.client() as client:
        entry = cli.json("ingest", str(first))["data"][0]
        assert entry["document"]["status"] == "completed"
        assert _found(client, "basalt quay wall") == ["first.txt"]
        cli.json("ingest", str(second))
        assert _found(client, "white lighthouse")[0] == "second.txt"
        cli.json("documents", "delete", entry["document"]["id"])
        assert _found(client, "basalt quay wall") == ["second.txt"]
        assert client.get(f"/v1/documents/{entry['document']['id']}").status_code == 404


def test_server_that_runs_does_the_work_and_doctor_names_it(
    start_server: StartServer, cli: Cli, tmp_path: Path
) -> None:
    server = start_server()
    assert server.process is not None
    wait_for(lambda: _holder(cli) == server.process.pid if server.process else False)
    path = tmp_path / "note.txt"
    path.write_text("Who reads this holds the lease.\n", encoding="utf-8")
    job = cli.json("ingest", str(path), "--no-wait")["data"][0]["job"]
    wait_for(lambda: cli.json("jobs", "show", job["id"])["status"] == "completed")


def test_commands_see_what_was_uploaded_over_http(start_server: StartServer, tmp_path: Path) -> None:
    server = start_server()
    with server.client() as client:
        answer = client.post("/v1/documents", files={"files": ("report.md", b"# Report\n\nThe pier is 310 m long.\n")})
        entry = answer.json()["data"][0]
        client.get(f"/v1/jobs/{entry['job']['id']}", params={"wait": 30})
        shown = client.get(f"/v1/documents/{entry['document']['id']}").json()
    listed = _cli(server, "documents", "show", entry["document"]["id"])
    assert {name: listed[name] for name in listed} == {name: shown[name] for name in listed}
    hits = _cli(server, "search", "how long is the pier", "--min-score", "0")["data"]
    assert hits[0]["document"]["id"] == entry["document"]["id"]


def test_commands_go_on_after_the_server_was_killed(start_server: StartServer, tmp_path: Path) -> None:
    server = start_server()
    server.kill()
    path = tmp_path / "after.txt"
    path.write_text("The server has gone and the work goes on.\n", encoding="utf-8")
    assert _cli(server, "ingest", str(path))["data"][0]["document"]["status"] == "completed"


def test_sigterm_ends_the_server_in_order_while_a_job_runs_and_a_client_waits(
    start_server: StartServer, cli: Cli, tmp_path: Path
) -> None:
    scans = [Image.effect_noise((1240, 1754), 90) for _ in range(20)]
    scan = tmp_path / "scan.pdf"
    scans[0].save(scan, save_all=True, append_images=scans[1:], resolution=150)
    server = start_server()
    with server.client() as client, ThreadPoolExecutor(1) as pool:
        answer = client.post("/v1/documents", files={"files": ("scan.pdf", scan.read_bytes())})
        job_id = answer.json()["data"][0]["job"]["id"]
        wait_for(lambda: client.get(f"/v1/jobs/{job_id}").json()["status"] == "in_progress")
        poll = pool.submit(httpx.get, f"{server.base}/v1/jobs/{job_id}", params={"wait": 60}, timeout=90)
        time.sleep(0.5)
        assert not poll.done()
        assert server.stop() == 0
        assert poll.result().json()["status"] in ("in_progress", "queued")
    assert cli.json("jobs", "show", job_id)["status"] == "queued"
    assert _holder(cli) is None


def test_serve_announces_itself_as_one_json_line(databases: Databases, tmp_path: Path) -> None:
    server = Server(tmp_path / "data", **databases.environment(tmp_path / "data"))
    process = subprocess.Popen(
        [sys.executable, "-m", "cli", "serve", "--port", "0", "--data-dir", str(server.data_dir), "--json"],
        cwd=ROOT,
        env=server.environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        said = json.loads(process.stdout.readline())
        assert httpx.get(f"{said['url']}/livez").status_code == 200
        assert said["pid"] == process.pid
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
    finally:
        process.kill()
    assert out == ""
    assert "Traceback" not in err
    assert process.returncode == 0


def _holder(cli: Cli) -> int | None:
    checks = {check["name"]: check for check in cli.json("doctor")["checks"]}
    holder: int | None = checks["worker"]["facts"]["holder_pid"]
    return holder
