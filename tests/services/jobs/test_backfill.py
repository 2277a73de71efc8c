"""Pictures that were stored before there was a picture model get their vectors from the backfill job."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from database.documents import images
from database.jobs import jobs as job_rows
from database.records import LOCAL_ACTOR, TERMINAL_STATUSES
from services.jobs.client import add_backfill
from services.jobs.worker import Worker
from services.runtime import Runtime
from services.settings import Settings
from tests.support.api_server import wait
from tests.support.ingest_cases import document_of, run_next, submit
from tests.support.paths import DATA, ROOT
from tests.support.picture_models import NATIVE, write_checkpoint
from tests.support.runtimes import open_runtime
from tests.support.server_process import Server
from tests.support.waiting import wait_for


def test_weights_that_come_later_are_noticed_and_the_backfill_clears_the_warning(
    settings: Settings, tmp_path: Path
) -> None:
    runtime = open_runtime(settings)
    submission = submit(runtime, DATA / "letter.png", ocr="off")
    run_next(runtime)
    document_id = submission.document.document_id
    assert [w["code"] for w in document_of(runtime, document_id).warnings] == ["image_vectors_pending"]
    view = add_backfill(runtime, LOCAL_ACTOR)
    failed = run_next(runtime)
    assert failed.job_id == view.job.job_id
    assert failed.error is not None
    assert failed.error["code"] == "image_model_missing"
    runtime.close()

    checkpoint = write_checkpoint(tmp_path / "clip", NATIVE)
    runtime = open_runtime(settings.model_copy(update={"clip_dir": checkpoint}))
    with Worker(runtime):
        wait_for(lambda: backfilled(runtime))
    assert document_of(runtime, document_id).warnings == []
    with runtime.store.begin(LOCAL_ACTOR) as tx:
        (image,) = images.list_images(tx, document_id)
    assert runtime.image_embedder is not None
    assert image.space == runtime.image_embedder.space
    runtime.close()


def backfilled(runtime: Runtime) -> bool:
    with runtime.store.begin(LOCAL_ACTOR) as tx:
        jobs = job_rows.list_page(tx, status=["completed"], limit=10, cursor=None).data
    return any(job.type == "backfill_image_vectors" for job in jobs)


def test_a_running_server_fills_in_vectors_when_the_cli_asks_for_it(
    tmp_path: Path, start_server: Callable[..., Server]
) -> None:
    """The folder of the setting is empty at first; the weights are put there while the server runs."""
    folder = tmp_path / "clip"
    server = start_server(DOCATLAS_CLIP_DIR=str(folder))
    with server.client() as client:
        reply = client.post("/v1/documents", files={"files": ("letter.png", (DATA / "letter.png").read_bytes())})
        entry = reply.json()["data"][0]
        wait(client, entry["job"]["id"])
        url = f"/v1/documents/{entry['document']['id']}"
        assert "image_vectors_pending" in {w["code"] for w in client.get(url).json()["warnings"]}
        write_checkpoint(folder, NATIVE)
        asked = subprocess.run(
            [sys.executable, "-m", "cli", "jobs", "backfill", "--json", "--data-dir", str(server.data_dir)],
            cwd=ROOT,
            env=server.environment,
            stdout=subprocess.PIPE,
            text=True,
            check=True,
        )
        assert json.loads(asked.stdout)["status"] in TERMINAL_STATUSES
        assert client.get(url).json()["warnings"] == []
        found = client.post("/v1/search/image", files={"file": ("a.png", (DATA / "letter.png").read_bytes())}).json()
        assert found["data"][0]["document"]["id"] == entry["document"]["id"]
