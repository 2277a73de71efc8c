"""Holds many clients in a long poll and measures whether /livez and a search still answer at once.

    python -m bench.long_poll [--clients 200] [--requests 30]

The clients wait for jobs that stand in the queue behind a long scan. Printed are the latencies without the clients,
with them, and how long after the cancellation of the jobs the last client had its answer.
"""

from __future__ import annotations

import argparse
import asyncio
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import httpx
from rich.console import Console
from rich.table import Table

from bench import corpus
from bench.server import BenchError, Server, connect, end_in_order, serving, upload, wait_for_job

console = Console(highlight=False, width=None if sys.stdout.isatty() else 160)
QUEUED_JOBS = 5
"""Jobs that the clients share; the poll is the same for one or many."""


async def latencies_ms(
    client: httpx.AsyncClient, method: str, path: str, count: int, body: object = None
) -> list[float]:
    """Milliseconds of `count` requests, one after the other."""
    found: list[float] = []
    for _ in range(count):
        began = time.perf_counter()
        answer = await client.request(method, path, json=body)
        found.append((time.perf_counter() - began) * 1000)
        if answer.status_code != 200:
            raise BenchError(f"{method} {path}: {answer.status_code} {answer.text[:300]}")
        await asyncio.sleep(0.02)
    return found


async def measure(server: Server, jobs: Sequence[str], clients: int, requests: int) -> tuple[Table, float, int]:
    """The table, the seconds from the cancellation to the last answer, and how many of the answers said `cancelled`."""
    table = Table(title=f"{clients} clients in a long poll")
    for column in ("request", "clients", "median ms", "p95 ms", "max ms"):
        table.add_column(column, justify="left" if column == "request" else "right")
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=None)
    search = {"query": "annual report of the harbour board", "k": 8}

    async def look(client: httpx.AsyncClient, held: int) -> None:
        for name, method, path, body in (
            ("GET /livez", "GET", "/livez", None),
            ("POST /v1/search", "POST", "/v1/search", search),
        ):
            found = sorted(await latencies_ms(client, method, path, requests, body))
            table.add_row(
                name, str(held), f"{statistics.median(found):.1f}",
                f"{found[min(len(found) - 1, int(len(found) * 0.95))]:.1f}", f"{found[-1]:.1f}",
            )  # fmt: skip

    async with (
        httpx.AsyncClient(base_url=server.url, timeout=90.0, trust_env=False) as client,
        httpx.AsyncClient(base_url=server.url, timeout=90.0, trust_env=False, limits=limits) as crowd,
    ):
        await look(client, 0)
        polls = [
            asyncio.create_task(crowd.get(f"/v1/jobs/{jobs[number % len(jobs)]}", params={"wait": 60}))
            for number in range(clients)
        ]
        await asyncio.sleep(2.0)
        if any(poll.done() for poll in polls):
            raise BenchError("a poll came back although its job still waits")
        await look(client, clients)
        began = time.perf_counter()
        for job in jobs:
            (await client.post(f"/v1/jobs/{job}/cancel")).raise_for_status()
        answers = await asyncio.gather(*polls)
        return table, time.perf_counter() - began, sum(answer.json()["status"] == "cancelled" for answer in answers)


def main(argv: Sequence[str] | None = None) -> int:
    """0 once the table is printed; 1 when a poll did not end as it should."""
    parser = argparse.ArgumentParser(prog="python -m bench.long_poll", description=__doc__.splitlines()[0])
    parser.add_argument("--clients", type=int, default=200)
    parser.add_argument("--requests", type=int, default=30)
    given = parser.parse_args(argv)
    end_in_order()
    folder = Path(tempfile.mkdtemp(prefix="docatlas-poll-"))
    try:
        files = corpus.write_mixed(folder / "files", 10, seed=1)
        slow = folder / "slow.pdf"
        corpus.write_scanned_pdf(slow, 60, seed=2)
        with serving(folder / "data", env={"DOCATLAS_WORKER_THREADS": "1"}) as server:
            with connect(server) as client:
                for path in files[3:8]:  # something to find, without OCR
                    wait_for_job(client, upload(client, path)["job"]["id"])
                running = upload(client, slow)["job"]["id"]
                jobs = []
                for number in range(QUEUED_JOBS):
                    path = folder / f"waiting-{number}.txt"
                    path.write_text(f"Waiting number {number}.\n", encoding="utf-8")
                    jobs.append(upload(client, path)["job"]["id"])
            table, woken_s, cancelled = asyncio.run(measure(server, jobs, given.clients, given.requests))
            with connect(server) as client:
                client.post(f"/v1/jobs/{running}/cancel").raise_for_status()
        console.print(table)
        console.print(
            f"cancelled {len(jobs)} jobs: {cancelled} of {given.clients} clients were told, "
            f"the last after {woken_s:.2f} s"
        )
        return 0 if cancelled == given.clients else 1
    except BenchError as error:
        console.print(f"given up: {error}")
        return 1
    finally:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())
