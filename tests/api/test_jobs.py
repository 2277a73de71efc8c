"""Jobs over HTTP: waiting without threads, cancelling, trying again."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import httpx
import pytest

from database.records import LOCAL_ACTOR
from services.jobs.client import get_job
from services.jobs.worker import Worker
from services.runtime import Runtime
from tests.support.api_server import assert_problem, opened, upload, wait
from tests.support.databases import Databases
from tests.support.paths import DATA


@pytest.fixture
def idle(databases: Databases, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Runtime, httpx.Client]]:
    """A server that queues jobs and runs none until it is told to."""
    with opened(databases, tmp_path_factory.mktemp("jobs"), runs_jobs=False) as both:
        yield both


def test_job_is_shown_as_the_contract_says(idle: tuple[Runtime, httpx.Client]) -> None:
    _, client = idle
    first = upload(client, "a.txt", b"first")["job"]["id"]
    second = upload(client, "b.txt", b"second")["job"]["id"]
    job = client.get(f"/v1/jobs/{second}").json()
    assert job["progress"] == {"percent": 0.0, "pages_done": 0, "pages_total": 0}
    assert (job["object"], job["type"], job["status"], job["queue_position"]) == ("job", "ingest", "queued", 1)
    assert (job["attempts"], job["error"], job["warnings"], job["finished_at"]) == (0, None, [], None)
    assert client.get(f"/v1/jobs/{first}").json()["queue_position"] == 0


def test_wait_answers_with_the_job_as_it_is_when_the_time_is_up(idle: tuple[Runtime, httpx.Client]) -> None:
    _, client = idle
    job_id = upload(client, "a.txt", b"never run")["job"]["id"]
    reply = client.get(f"/v1/jobs/{job_id}", params={"wait": 0.3})
    assert (reply.status_code, reply.json()["status"]) == (200, "queued")


def test_wait_ends_when_the_job_does(idle: tuple[Runtime, httpx.Client]) -> None:
    runtime, client = idle
    job_id = upload(client, "a.txt", b"run later")["job"]["id"]

    async def scenario() -> tuple[httpx.Response, int]:
        async with httpx.AsyncClient(base_url=client.base_url, timeout=60) as waiting:
            poll = asyncio.create_task(waiting.get(f"/v1/jobs/{job_id}", params={"wait": 60}))
            alive = await waiting.get("/livez")
            with Worker(runtime):
                return await poll, alive.status_code

    reply, alive = asyncio.run(scenario())
    assert (reply.json()["status"], alive) == ("completed", 200)


def test_many_waiting_clients_hold_up_nobody(idle: tuple[Runtime, httpx.Client]) -> None:
    _, client = idle
    job_id = upload(client, "a.txt", b"awaited by many")["job"]["id"]

    async def scenario() -> tuple[list[httpx.Response], int, int]:
        limits = httpx.Limits(max_connections=400)
        async with httpx.AsyncClient(base_url=client.base_url, timeout=60, limits=limits) as waiting:
            polls = [asyncio.create_task(waiting.get(f"/v1/jobs/{job_id}", params={"wait": 60})) for _ in range(100)]
            async with httpx.AsyncClient(base_url=client.base_url, timeout=60) as other:
                alive = await other.get("/livez")
                found = await other.post("/v1/search", json={"query": "anything"})
                # All of them are still waiting: only this ends them.
                assert not any(poll.done() for poll in polls)
                await other.post(f"/v1/jobs/{job_id}/cancel")
            return await asyncio.gather(*polls), alive.status_code, found.status_code

    replies, alive, found = asyncio.run(scenario())
    assert (alive, found) == (200, 200)
    assert {reply.json()["status"] for reply in replies} == {"cancelled"}


def test_a_job_has_the_same_members_over_http_and_from_a_command(idle: tuple[Runtime, httpx.Client]) -> None:
    runtime, client = idle
    job_id = upload(client, "a.txt", b"shown twice")["job"]["id"]
    assert client.get(f"/v1/jobs/{job_id}").json() == get_job(runtime, LOCAL_ACTOR, job_id).as_json()


@pytest.mark.parametrize("given", ["61", "-1", "nan", "soon"])
def test_wait_out_of_range_is_422(idle: tuple[Runtime, httpx.Client], given: str) -> None:
    assert_problem(idle[1].get("/v1/jobs/x", params={"wait": given}), 422, "invalid_request")


def test_cancelled_job_can_be_tried_again_and_an_ended_one_not_cancelled(idle: tuple[Runtime, httpx.Client]) -> None:
    runtime, client = idle
    entry = upload(client, "a.txt", b"on and off")
    path = f"/v1/jobs/{entry['job']['id']}"
    assert_problem(client.post(f"{path}/retry"), 409, "job_not_ended")
    assert client.post(f"{path}/cancel").json()["status"] == "cancelled"
    assert client.get(f"/v1/documents/{entry['document']['id']}").json()["status"] == "cancelled"
    assert_problem(client.post(f"{path}/cancel"), 409, "job_ended")
    assert client.post(f"{path}/retry").json()["status"] == "queued"
    with Worker(runtime):
        assert wait(client, entry["job"]["id"])["status"] == "completed"
    assert_problem(client.post(f"{path}/retry"), 409, "job_not_ended")
    assert_problem(client.post("/v1/jobs/none/cancel"), 404, "job_not_found")


def test_failed_job_carries_the_problem_of_an_http_error(idle: tuple[Runtime, httpx.Client]) -> None:
    runtime, client = idle
    with Worker(runtime):
        job = wait(client, upload(client, "truncated.pdf", (DATA / "encrypted.pdf").read_bytes())["job"]["id"])
    assert job["status"] == "failed"
    assert {"type", "title", "status", "detail", "instance", "code", "request_id", "retryable"} <= set(job["error"])
    assert job["error"]["instance"] == f"/v1/jobs/{job['id']}"


def test_list_of_jobs_is_filtered_and_paged(idle: tuple[Runtime, httpx.Client]) -> None:
    _, client = idle
    entries = [upload(client, f"{n}.txt", b"job %d" % n) for n in range(3)]
    client.post(f"/v1/jobs/{entries[0]['job']['id']}/cancel")
    page = client.get("/v1/jobs", params={"limit": 2}).json()
    assert [job["id"] for job in page["data"]] == [entries[2]["job"]["id"], entries[1]["job"]["id"]]
    assert page["has_more"] is True
    rest = client.get("/v1/jobs", params={"limit": 2, "cursor": page["next_cursor"]}).json()
    assert [job["id"] for job in rest["data"]] == [entries[0]["job"]["id"]]
    cancelled = client.get("/v1/jobs", params={"status": "cancelled"}).json()["data"]
    assert [job["id"] for job in cancelled] == [entries[0]["job"]["id"]]
    of_one = client.get("/v1/jobs", params={"document_id": entries[1]["document"]["id"]}).json()["data"]
    assert [job["id"] for job in of_one] == [entries[1]["job"]["id"]]
    assert client.get("/v1/jobs", params={"cursor": "rubbish"}).status_code == 422
