"""Attacks a server of its own without an account, and measures its memory and what honest clients get meanwhile.

    python -m bench.door_attacks [--only headers|bodies|halves] [--attack-s 12] [--after-s 10] [--honest 50]

Three attacks, one after the other, on loopback only: 60 MB of header lines on one connection; 300 JSON bodies of 8 MB
that stop one byte before their end; 3,000 requests that stop within their headers. Each opens its connections once and
ends after `--attack-s` seconds; the attacker is a process of its own. Meanwhile honest clients of the same address read
/livez and search, each over its own connection.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import resource
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import psutil
from rich.console import Console
from rich.table import Table

from bench.server import ROOT, BenchError, Server, end_in_order, serving

console = Console(highlight=False, width=None if sys.stdout.isatty() else 160)

HEADER_BYTES = 60 * 1000**2
HEADER_LINES_PER_WRITE = 1000
HALF_BODIES = 300
BODY_BYTES = 8 * 1024**2
HALF_REQUESTS = 3000
WARM_UP_S = 3.0
"""In which the honest clients connect, before anything is measured."""
PAUSE_S = 0.2
"""Between two requests of an honest client."""
SEARCH = {"query": "annual report of the harbour board", "k": 8}


@dataclass(slots=True)
class Outcome:
    """What came of one attack. Sizes in bytes, times in seconds."""

    before: int = 0
    peak: int = 0
    after: int = 0
    sent: int = 0
    answers: Counter[str] = field(default_factory=Counter)
    """Status lines that attacking connections got, and how they ended."""
    latencies: list[float] = field(default_factory=list)
    failures: Counter[str] = field(default_factory=Counter)
    """Of honest clients."""


Attack = Callable[[str, int, Outcome], Awaitable[None]]


async def send_endless_headers(host: str, port: int, outcome: Outcome) -> None:
    """Sends 60 MB of header lines on one connection."""
    reader, writer = await asyncio.open_connection(host, port)
    await _sent(writer, b"GET /livez HTTP/1.1\r\nHost: 127.0.0.1\r\n", outcome)
    number = 0
    while outcome.sent < HEADER_BYTES:
        lines = b"".join(b"X-Filler-%d: %b\r\n" % (number + i, b"a" * 40) for i in range(HEADER_LINES_PER_WRITE))
        number += HEADER_LINES_PER_WRITE
        if not await _sent(writer, lines, outcome):
            break
    await _end_of(reader, writer, outcome)


async def send_half_bodies(host: str, port: int, outcome: Outcome) -> None:
    """Sends 300 JSON bodies up to their last byte."""
    head = b"POST /v1/search HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
    head += b"Content-Length: %d\r\n\r\n" % BODY_BYTES
    body = b'{"query": "' + b"a" * (BODY_BYTES - 12)

    async def send_one() -> None:
        reader, writer = await asyncio.open_connection(host, port)
        if await _sent(writer, head, outcome):
            for start in range(0, len(body), 256 * 1024):
                if not await _sent(writer, body[start : start + 256 * 1024], outcome):
                    break
        await _end_of(reader, writer, outcome)

    await _all([send_one() for _ in range(HALF_BODIES)])


async def open_half_requests(host: str, port: int, outcome: Outcome) -> None:
    """Opens 3,000 connections and sends half of the headers on each."""

    async def open_one() -> None:
        reader, writer = await asyncio.open_connection(host, port)
        await _sent(writer, b"GET /livez HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Half: ", outcome)
        await _end_of(reader, writer, outcome)

    await _all([open_one() for _ in range(HALF_REQUESTS)])


ATTACKS: Mapping[str, tuple[str, Attack]] = {
    "headers": ("60 MB of header lines", send_endless_headers),
    "bodies": (f"{HALF_BODIES} half-sent JSON bodies", send_half_bodies),
    "halves": (f"{HALF_REQUESTS:,} half requests", open_half_requests),
}


async def _all(attackers: Sequence[Awaitable[None]]) -> None:
    for result in await asyncio.gather(*attackers, return_exceptions=True):
        if isinstance(result, asyncio.CancelledError):
            raise result


async def _sent(writer: asyncio.StreamWriter, data: bytes, outcome: Outcome) -> bool:
    """True where the server still takes what is sent."""
    try:
        writer.write(data)
        await writer.drain()
    except OSError:
        return False
    outcome.sent += len(data)
    return True


async def _end_of(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, outcome: Outcome) -> None:
    """Waits for an answer or for the end of the connection."""
    said = "still open"
    try:
        line = await reader.readline()
        said = line.decode("latin-1").strip() or "closed without an answer"
    except OSError:
        said = "reset"
    finally:
        outcome.answers[said] += 1
        writer.transport.abort()


async def be_honest(url: str, number: int, outcome: Outcome, stop: asyncio.Event) -> None:
    """Reads /livez and searches in turn until it is told to stop."""
    # Reading the system's certificates takes longer than a request.
    async with httpx.AsyncClient(base_url=url, timeout=15.0, trust_env=False, verify=False) as client:
        while not stop.is_set():
            number += 1
            began = time.perf_counter()
            try:
                if number % 2:
                    answer = await client.get("/livez")
                else:
                    answer = await client.post("/v1/search", json=SEARCH)
            except httpx.TransportError as error:
                outcome.failures[type(error).__name__] += 1
            else:
                if answer.status_code == 200:
                    outcome.latencies.append(time.perf_counter() - began)
                else:
                    outcome.failures[str(answer.status_code)] += 1
            with suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), PAUSE_S)


async def watch_memory(process: psutil.Process, outcome: Outcome, stop: asyncio.Event) -> None:
    """Notes the largest resident set of the server process, ten times a second."""
    while not stop.is_set():
        outcome.peak = max(outcome.peak, process.memory_info().rss)
        await asyncio.sleep(0.1)


async def attack_once(url: str, name: str, attack_s: float) -> Outcome:
    """Makes one attack from this process."""
    parts, outcome = urlsplit(url), Outcome()
    if parts.hostname != "127.0.0.1" or parts.port is None:
        raise BenchError("only a server on 127.0.0.1 is attacked")
    with suppress(TimeoutError):
        await asyncio.wait_for(ATTACKS[name][1](parts.hostname, parts.port, outcome), attack_s)
    return outcome


async def measure(server: Server, name: str, given: argparse.Namespace) -> Outcome:
    """One attack, or none, with its honest clients."""
    process, outcome, stop = psutil.Process(server.process.pid), Outcome(), asyncio.Event()
    honest = [asyncio.create_task(be_honest(server.url, number, outcome, stop)) for number in range(given.honest)]
    await asyncio.sleep(WARM_UP_S)
    outcome.latencies.clear()
    outcome.before = process.memory_info().rss
    watcher = asyncio.create_task(watch_memory(process, outcome, stop))
    if name in ATTACKS:
        command = [sys.executable, "-m", "bench.door_attacks", "--attacker", name, server.url]
        attacker = await asyncio.create_subprocess_exec(
            *command, "--attack-s", str(given.attack_s), cwd=ROOT, stdout=asyncio.subprocess.PIPE
        )
        said, _ = await asyncio.gather(attacker.communicate(), asyncio.sleep(given.attack_s))
        told = json.loads(said[0])
        outcome.sent, outcome.answers = told["sent"], Counter(told["answers"])
    else:
        await asyncio.sleep(given.attack_s)
    stop.set()
    await asyncio.gather(watcher, *honest)
    await asyncio.sleep(given.after_s)
    outcome.after = process.memory_info().rss
    return outcome


def main(argv: Sequence[str] | None = None) -> int:
    """0 once the table is printed; 1 when the server did not live through it."""
    parser = argparse.ArgumentParser(prog="python -m bench.door_attacks", description=__doc__.splitlines()[0])
    parser.add_argument("--only", choices=tuple(ATTACKS))
    parser.add_argument("--attacker", nargs=2, metavar=("ATTACK", "URL"), help=argparse.SUPPRESS)
    parser.add_argument("--attack-s", type=float, default=12.0)
    parser.add_argument("--after-s", type=float, default=10.0)
    parser.add_argument("--honest", type=int, default=50)
    given = parser.parse_args(argv)
    end_in_order()
    _soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    if given.attacker is not None:
        made = asyncio.run(attack_once(given.attacker[1], given.attacker[0], given.attack_s))
        print(json.dumps({"sent": made.sent, "answers": made.answers}))
        return 0
    table = Table(title=f"attacks of {given.attack_s:g} s at most, {given.honest} honest clients of the same address")
    for column in (
        "attack", "RSS before", "peak", f"{given.after_s:g} s after", "sent MB", "honest requests", "p95 ms", "failed",
        "the attackers got",
    ):  # fmt: skip
        table.add_column(column, justify="left" if column in ("attack", "failed", "the attackers got") else "right")
    folder = Path(tempfile.mkdtemp(prefix="docatlas-door-"))
    try:
        for name in ("none", *ATTACKS) if given.only is None else ("none", given.only):
            with serving(folder / name, env={"DOCATLAS_TEXT_MODEL": "hash"}) as server:
                found = asyncio.run(measure(server, name, given))
            ordered = sorted(found.latencies)
            p95 = f"{ordered[min(len(ordered) - 1, int(len(ordered) * 0.95))] * 1000:.0f}" if ordered else "none"
            table.add_row(
                ATTACKS[name][0] if name in ATTACKS else "none",
                *(f"{size / 1e6:,.0f} MB" for size in (found.before, found.peak, found.after)),
                f"{found.sent / 1e6:,.0f}", f"{len(ordered):,}", p95, _told(found.failures), _told(found.answers),
            )  # fmt: skip
        console.print(table)
        return 0
    except (BenchError, psutil.NoSuchProcess) as error:
        console.print(f"given up: {error}")
        return 1
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _told(counts: Counter[str]) -> str:
    return ", ".join(f"{number:,} x {what}" for what, number in counts.most_common(4)) or "none"


if __name__ == "__main__":
    sys.exit(main())
