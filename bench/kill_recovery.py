"""Kills a server with SIGKILL at random instants of an ingest and compares what it ends up with to an undisturbed run.

    python -m bench.kill_recovery [--files 20] [--kills 10] [--runs 1] [--seed N] [--keep]

The instants are drawn over the whole undisturbed duration. With `--runs 1` all of them hit one ingest; the clock on
which they lie runs only while a server is ready. With `--runs 10` each of ten ingests is hit once. Exits with 1 when a
document differs, a vector's cosine is below 0.999, a chunk is doubled or a process is left.
"""

from __future__ import annotations

import argparse
import hashlib
import random
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import psutil
from rich.console import Console
from rich.table import Table

from bench import corpus
from bench.server import TERMINAL, BenchError, Server, connect, end_in_order, serving, start, upload

MIN_COSINE = 0.999
GONE_WITHIN_S = 15.0
console = Console(highlight=False, width=None if sys.stdout.isatty() else 140)


@dataclass(frozen=True, slots=True)
class Outcome:
    """All that a document ended up as; two runs agree when all but the vectors are equal and the vectors nearly."""

    facts: Mapping[str, Any]
    vectors: np.ndarray[Any, np.dtype[np.float32]]
    """float32[chunks, 768], in the order of the chunks."""


@dataclass(slots=True)
class Kill:
    instant_s: float
    """On the clock of the ingest."""
    statuses: str
    children: int
    gone_after_s: float
    ready_again_s: float = 0.0


@dataclass(slots=True)
class Run:
    kills: list[Kill] = field(default_factory=list)
    duration_s: float = 0.0
    left: list[str] = field(default_factory=list)


def pages_of(client: httpx.Client, path: str) -> list[Mapping[str, Any]]:
    """Every row of a list, through its cursors."""
    found: list[Mapping[str, Any]] = []
    cursor: str | None = None
    while True:
        answer = client.get(path, params={"limit": 200, **({"cursor": cursor} if cursor else {})})
        answer.raise_for_status()
        body = answer.json()
        found += body["data"]
        cursor = body.get("next_cursor")
        if not body.get("has_more"):
            return found


def outcomes(client: httpx.Client, data_dir: Path) -> dict[str, Outcome]:
    """What each document became, by file name. Texts and offsets over HTTP, vectors from the store."""
    from database.documents import contents
    from database.opening import open_store
    from database.records import LOCAL_ACTOR

    found: dict[str, Outcome] = {}
    store = open_store(data_dir)
    try:
        for document in pages_of(client, "/v1/documents"):
            base = f"/v1/documents/{document['id']}"
            chunks = pages_of(client, f"{base}/chunks")
            content = client.get(f"{base}/content", params={"format": "text"})
            content.raise_for_status()
            text = content.content.decode()
            for chunk in chunks:
                joined = "".join(text[span["char_start"] : span["char_end"]] for span in chunk["spans"])
                if joined != chunk["text"]:
                    raise BenchError(f"{document['filename']}: chunk {chunk['ordinal']} is no slice of the text")
            with store.begin(LOCAL_ACTOR) as tx:
                vectors = contents.chunk_vectors(tx, [chunk["id"] for chunk in chunks])
            facts = {
                "status": document["status"],
                "pages": document["page_count"],
                "chunks": document["chunk_count"],
                "images": document["image_count"],
                "warnings": document["warnings"],
                "text": hashlib.sha256(text.encode()).hexdigest(),
                "spans": [(c["ordinal"], c["text"], c["prefix"], c["spans"]) for c in chunks],
                "pictures": [(i["page"], i["box"], i["sha256"]) for i in pages_of(client, f"{base}/images")],
            }
            stacked = np.stack([vectors[c["id"]] for c in chunks]) if chunks else np.zeros((0, 768), np.float32)
            found[document["filename"]] = Outcome(facts, stacked)
    finally:
        store.close()
    return found


def stored_rows(data_dir: Path) -> tuple[int, int]:
    """Chunk rows in the table, and the sum of the documents' counts: equal when nothing is doubled or left behind."""
    from sqlalchemy import text

    from database.opening import open_store
    from database.records import SERVICE_ACTOR

    store = open_store(data_dir)
    try:
        with store.begin(SERVICE_ACTOR) as tx:
            rows = tx.connection.execute(text("SELECT count(*) FROM document_embeddings")).scalar_one()
            expected = tx.connection.execute(text("SELECT sum(total_chunks) FROM documents_metadata")).scalar_one()
    finally:
        store.close()
    return int(rows), int(expected or 0)


def working_in(data_dir: Path) -> list[psutil.Process]:
    """Live processes whose working directory lies in `data_dir`: parsing children and the OCR programs they start."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.status() != psutil.STATUS_ZOMBIE and Path(process.cwd()).is_relative_to(data_dir):
                found.append(process)
        except psutil.Error:
            continue
    return found


def wait_gone(known: Sequence[psutil.Process], data_dir: Path) -> tuple[float, list[str]]:
    """Seconds until none of `known` and none that works in `data_dir` lives, and those that outlived the patience."""
    started = time.monotonic()
    while True:
        alive = {process.pid: process for process in [*known, *working_in(data_dir)] if _lives(process)}
        elapsed = time.monotonic() - started
        if not alive or elapsed > GONE_WITHIN_S:
            return elapsed, [f"{pid} {process.name()}" for pid, process in alive.items()]
        time.sleep(0.02)


def _lives(process: psutil.Process) -> bool:
    try:
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def counted(statuses: Sequence[str]) -> str:
    return ", ".join(f"{statuses.count(s)} {s}" for s in sorted(set(statuses))) or "nothing uploaded"


def work(server: Server, files: list[Path], statuses: list[str]) -> bool:
    """True when every file is uploaded and at an end; False when the server died on the way. Shortens `files`."""
    try:
        with connect(server, timeout_s=60.0) as client:
            while files:
                upload(client, files[0])
                files.pop(0)
            while True:
                statuses[:] = [d["status"] for d in pages_of(client, "/v1/documents")]
                if all(status in TERMINAL for status in statuses):
                    return True
                time.sleep(0.1)
    except httpx.TransportError:
        try:
            server.process.wait(timeout=10)  # the connection breaks a moment before the process is gone
        except subprocess.TimeoutExpired:
            raise BenchError(f"the server hung up and lives; its log is {server.log}") from None
        return False


def disturbed(data_dir: Path, files: Sequence[Path], instants: Sequence[float]) -> Run:
    """An ingest of `files` with a SIGKILL at each of `instants` (seconds of ready time from the first upload)."""
    run = Run()
    todo = list(files)
    statuses: list[str] = []
    clock = 0.0
    ahead = sorted(instants)
    while True:
        server = start(data_dir)
        try:
            server.wait_for("/readyz")
            ready_s = time.monotonic() - server.started
            if run.kills:
                run.kills[-1].ready_again_s = ready_s
            resumed = time.monotonic()
            known: list[psutil.Process] = []

            def shoot(target: Server = server, seen: list[psutil.Process] = known) -> None:
                seen += target.children()
                target.kill()

            timer = threading.Timer(max(0.0, ahead[0] - clock), shoot) if ahead else None
            if timer:
                timer.start()
            done = work(server, todo, statuses)
            if done:
                clock += time.monotonic() - resumed
                if timer:
                    timer.cancel()
                    timer.join()
                if server.is_running():
                    run.duration_s = clock
                    return run
            if timer is None:
                raise BenchError("the server died although nobody killed it")
            timer.join()
            clock = ahead.pop(0)
            gone_after_s, left = wait_gone(known, data_dir)
            run.left += left
            run.kills.append(Kill(clock, counted(statuses), len(known), gone_after_s))
        finally:
            server.stop()


def compare(reference: Mapping[str, Outcome], found: Mapping[str, Outcome]) -> tuple[list[str], float]:
    """What differs, one line each, and the smallest cosine of two vectors that should be equal."""
    wrong: list[str] = []
    lowest = 1.0
    for name in sorted(set(reference) | set(found)):
        if name not in reference or name not in found:
            wrong.append(f"{name}: {'missing' if name in reference else 'unexpected'}")
            continue
        one, other = reference[name], found[name]
        wrong += [f"{name}: {key} differs" for key, value in one.facts.items() if other.facts[key] != value]
        if one.vectors.shape != other.vectors.shape:
            wrong.append(f"{name}: {one.vectors.shape[0]} vectors, then {other.vectors.shape[0]}")
        elif len(one.vectors):
            lowest = min(lowest, float(np.sum(one.vectors * other.vectors, axis=1).min()))
    return wrong, lowest


def main(argv: Sequence[str] | None = None) -> int:
    """0 when every disturbed run equals the undisturbed one."""
    parser = argparse.ArgumentParser(prog="python -m bench.kill_recovery", description=__doc__.splitlines()[0])
    parser.add_argument("--files", type=int, default=20)
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--runs", type=int, default=1, help="ingests over which the kills are dealt")
    parser.add_argument("--seed", type=int, default=None, help="of the instants; default: a random one, printed")
    parser.add_argument("--keep", action="store_true", help="keep the folder with data and logs")
    given = parser.parse_args(argv)
    end_in_order()
    seed = given.seed if given.seed is not None else random.SystemRandom().randrange(1_000_000)
    folder = Path(tempfile.mkdtemp(prefix="docatlas-kill-"))
    failed = False
    try:
        files = corpus.write_mixed(folder / "files", given.files, seed=1)
        console.print(f"{len(files)} files, {sum(f.stat().st_size for f in files) / 1e6:.1f} MB; seed {seed}")
        statuses: list[str] = []
        with serving(folder / "undisturbed") as server:
            began = time.monotonic()
            if not work(server, list(files), statuses):
                raise BenchError(f"the undisturbed server died; its log is {server.log}")
            duration_s = time.monotonic() - began
            with connect(server) as client:
                reference = outcomes(client, folder / "undisturbed")
        console.print(
            f"undisturbed: {duration_s:.1f} s, {counted(statuses)}, "
            f"{sum(len(o.vectors) for o in reference.values())} chunks, ready after {server.ready_s:.1f} s"
        )
        rng = random.Random(seed)
        instants = [rng.uniform(0.0, duration_s) for _ in range(given.kills)]
        dealt = [sorted(instants)[number :: given.runs] for number in range(given.runs)]
        table = Table(title=f"SIGKILL at {given.kills} instants, seed {seed}")
        for column in ("run", "at s", "documents then", "children", "gone after s", "ready again s"):
            table.add_column(column, justify="left" if column == "documents then" else "right")
        verdicts: list[str] = []
        for number, share in enumerate(dealt, 1):
            data_dir = folder / f"run-{number}"
            run = disturbed(data_dir, files, share)
            with serving(data_dir) as server, connect(server) as client:
                found = outcomes(client, data_dir)
            for kill in run.kills:
                table.add_row(
                    str(number), f"{kill.instant_s:.2f}", kill.statuses, str(kill.children),
                    f"{kill.gone_after_s:.2f}", f"{kill.ready_again_s:.1f}",
                )  # fmt: skip
            wrong, cosine = compare(reference, found)
            rows, expected = stored_rows(data_dir)
            bad = bool(wrong or run.left or cosine < MIN_COSINE or rows != expected or len(run.kills) != len(share))
            failed |= bad
            verdicts.append(
                f"run {number}: {'FAILED' if bad else 'equal'}; {len(run.kills)} of {len(share)} kills landed, "
                f"{len(found)} documents, lowest cosine {cosine:.6f}, {rows} chunk rows of {expected}, "
                f"{len(run.left)} processes left, {run.duration_s:.1f} s of ready time"
            )
            verdicts += [f"  {line}" for line in [*wrong, *(f"left: {one}" for one in run.left)]]
        console.print(table)
        for line in verdicts:
            console.print(line)
    except BenchError as error:
        console.print(f"given up: {error}")
        given.keep = failed = True
    finally:
        if given.keep:
            console.print(f"kept {folder}")
        else:
            shutil.rmtree(folder, ignore_errors=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
