"""Prints one table of what this machine does: throughput, search time by index size, memory, start-up.

    python -m bench.run [FOLDER] [--quick]

All but the text model's own rate is measured on a real `docatlas serve` process over HTTP, on documents that are
generated here (and on those of FOLDER, where one is given). The settings of the environment apply:
`DOCATLAS_TEXT_MODEL=hash` shows what the rest costs without the model.
"""

from __future__ import annotations

import argparse
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
from bench.index_fill import fill
from bench.server import BenchError, Cost, Meter, Server, connect, end_in_order, serving, upload, wait_for_job

console = Console(highlight=False, width=None if sys.stdout.isatty() else 160)
QUERIES = (
    "annual report of the harbour board",
    "lease of a vehicle under the new contract",
    "who pays for the repair of the road",
    "number of the insurance policy",
    "court decision about the mortgage",
)


class Report:
    """The rows as they are found; `show` prints them."""

    def __init__(self) -> None:
        self._table = Table(title="Docatlas on this machine")
        for column in ("what", "value", "unit", "wall s", "CPU s", "peak MiB", "how"):
            self._table.add_column(column, justify="left" if column in ("what", "unit", "how") else "right")

    def add(self, what: str, value: float, unit: str, how: str, cost: Cost | None = None) -> None:
        """Adds a row, and says it at once on stderr: a run takes minutes."""
        costs = ("", "", "")
        if cost is not None:
            costs = (f"{cost.wall_s:.1f}", f"{cost.cpu_s:.1f}", f"{cost.peak_bytes / 1024**2:.0f}")
        shown = f"{value:.0f}" if value >= 100 else f"{value:.2f}"
        self._table.add_row(what, shown, unit, *costs, how)
        print(f"{what}: {shown} {unit}", file=sys.stderr, flush=True)

    def show(self) -> None:
        console.print(self._table)


def start_up(report: Report, folder: Path, runs: int) -> None:
    """Seconds from exec to the first 200 of /readyz, on a new data folder and on one that exists."""
    for what, fresh in (("start-up, new data folder", True), ("start-up, again", False)):
        taken = []
        for number in range(runs):
            with serving(folder / (f"start-{number}" if fresh else "start-0")) as server:
                taken.append(server.ready_s)
        report.add(what, statistics.median(taken), "s", f"exec to /readyz, median of {runs}")


def ingest(report: Report, server: Server, what: str, path: Path, pages: int, *, embed: bool = True) -> int:
    """Adds the pages per second of one document, from its upload to the end of its job; returns its chunks."""
    with connect(server) as client:
        with Meter(server.process.pid) as meter:
            job_id = upload(client, path)["job"]["id"] if embed else process_only(client, path)
            job = wait_for_job(client, job_id)
        if job["status"] not in ("completed", "completed_with_errors"):
            raise BenchError(f"{path.name}: {job['status']} {job['error']}")
        chunks = int(client.get(f"/v1/documents/{job['document_id']}").json()["chunk_count"])
    how = f"{pages} pages, {chunks} chunks" + ("" if embed else ", no vectors")
    report.add(what, pages / meter.cost.wall_s, "pages/s", how, meter.cost)
    return chunks


def process_only(client: httpx.Client, path: Path) -> str:
    """The job of an upload that stores text without vectors."""
    with path.open("rb") as stream:
        answer = client.post("/process", files={"file": (path.name, stream, "application/pdf")})
    if answer.status_code != 202:
        raise BenchError(f"{path.name}: {answer.status_code} {answer.text[:300]}")
    return str(answer.json()["job_id"])


def throughput(report: Report, folder: Path, *, quick: bool) -> None:
    """Digital and scanned pages, each parsed alone and with everything else."""
    digital_pages, scanned_pages = (50, 6) if quick else (200, 24)
    digital, scanned = folder / "digital.pdf", folder / "scanned.pdf"
    corpus.write_digital_pdf(digital, digital_pages, seed=11)
    corpus.write_scanned_pdf(scanned, scanned_pages, seed=12)
    plain_digital, plain_scanned = folder / "digital-plain.pdf", folder / "scanned-plain.pdf"
    corpus.write_digital_pdf(plain_digital, digital_pages, seed=13)
    corpus.write_scanned_pdf(plain_scanned, scanned_pages, seed=14)
    with serving(folder / "throughput") as server:
        ingest(report, server, "digital PDF, text only", plain_digital, digital_pages, embed=False)
        ingest(report, server, "digital PDF, with vectors", digital, digital_pages)
        ingest(report, server, "scanned PDF, text only", plain_scanned, scanned_pages, embed=False)
        ingest(report, server, "scanned PDF, with vectors", scanned, scanned_pages)


def text_model(report: Report, *, quick: bool) -> None:
    """Passages of about 1,000 characters through the text model alone, in this process."""
    import random

    from services.embedding.opening import open_text_embedder
    from services.settings import Settings

    settings = Settings()
    embedder = open_text_embedder(settings)
    rng = random.Random(5)
    texts = [corpus.paragraph(rng, 950) for _ in range(64 if quick else 256)]
    embedder.warm_up()
    taken = []
    for _ in range(3):
        began = time.perf_counter()
        embedder.embed(texts)
        taken.append(time.perf_counter() - began)
    how = f"{embedder.space}, {len(texts)} passages of 1,000 characters, median of 3"
    report.add("text model", len(texts) / statistics.median(taken), "chunks/s", how)


def memory(report: Report, folder: Path, *, quick: bool) -> None:
    """Peak of the summed PSS while a long PDF is read with the text model loaded."""
    pages = 100 if quick else 500
    path = folder / "long.pdf"
    corpus.write_digital_pdf(path, pages, seed=21)
    with serving(folder / "memory") as server:
        with connect(server) as client:
            client.post("/v1/search", json={"query": QUERIES[0]}).raise_for_status()
            with Meter(server.process.pid) as meter:
                job = wait_for_job(client, upload(client, path)["job"]["id"])
        if job["status"] != "completed":
            raise BenchError(f"{path.name}: {job['status']} {job['error']}")
        how = f"sum of PSS, {meter.cost.samples} samples, 10 a second; PDF of {pages} pages"
        report.add("peak memory", meter.cost.peak_bytes / 1024**2, "MiB", how, meter.cost)


def search(report: Report, folder: Path, sizes: Sequence[int]) -> None:
    """Milliseconds of a search over HTTP, by mode and number of chunks."""
    data_dir = folder / "search"
    filled = 0
    for size in sizes:
        fill(data_dir, size - filled, seed=size)
        filled = size
        with serving(data_dir) as server, connect(server) as client:
            for mode in ("hybrid", "semantic", "keyword"):
                body = {"mode": mode, "k": 8, "min_score": 0}
                for query in QUERIES:  # the first one of a server reads the vectors into memory
                    client.post("/v1/search", json={**body, "query": query}).raise_for_status()
                taken = []
                for query in QUERIES * 4:
                    began = time.perf_counter()
                    client.post("/v1/search", json={**body, "query": query}).raise_for_status()
                    taken.append((time.perf_counter() - began) * 1000)
                taken.sort()
                how = f"over HTTP, median of {len(taken)}; p95 {taken[int(len(taken) * 0.95)]:.0f} ms"
                report.add(f"{mode} search, {size:,} chunks", statistics.median(taken), "ms", how)


def own_documents(report: Report, folder: Path, documents: Path) -> None:
    """The files of `documents`: how many pages a second, and what became of them."""
    paths = sorted(path for path in documents.rglob("*") if path.is_file() and not path.name.startswith("."))
    refused = failed = pages = 0
    with serving(folder / "own") as server, connect(server) as client, Meter(server.process.pid) as meter:
        jobs = []
        for path in paths:
            try:
                jobs.append(upload(client, path)["job"])
            except BenchError:
                refused += 1
        for entry in jobs:
            if entry is None:
                continue
            job = wait_for_job(client, entry["id"])
            failed += job["status"] == "failed"
            pages += job["progress"]["pages_done"] or 0
    how = f"{len(paths)} files, {pages} pages; {refused} refused, {failed} failed"
    report.add(str(documents.name), pages / meter.cost.wall_s, "pages/s", how, meter.cost)


def main(argv: Sequence[str] | None = None) -> int:
    """0 once the table is printed, 1 when a measurement was worthless."""
    parser = argparse.ArgumentParser(prog="python -m bench.run", description=__doc__.splitlines()[0])
    parser.add_argument("folder", nargs="?", type=Path, help="documents of your own to read as well")
    parser.add_argument("--quick", action="store_true", help="small documents and indices, one or two minutes")
    parser.add_argument(
        "--only",
        action="append",
        choices=("start", "throughput", "model", "memory", "search"),
        help="only this part; may be repeated",
    )
    given = parser.parse_args(argv)
    end_in_order()
    wanted = given.only or ["start", "throughput", "model", "memory", "search"]
    folder = Path(tempfile.mkdtemp(prefix="docatlas-bench-"))
    report = Report()
    try:
        if "start" in wanted:
            start_up(report, folder, 1 if given.quick else 3)
        if "throughput" in wanted:
            throughput(report, folder, quick=given.quick)
        if "model" in wanted:
            text_model(report, quick=given.quick)
        if "memory" in wanted:
            memory(report, folder, quick=given.quick)
        if "search" in wanted:
            search(report, folder, (1_000, 10_000) if given.quick else (1_000, 10_000, 100_000))
        if given.folder is not None:
            own_documents(report, folder, given.folder)
    except BenchError as error:
        console.print(f"given up: {error}")
        return 1
    finally:
        report.show()
        shutil.rmtree(folder, ignore_errors=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
