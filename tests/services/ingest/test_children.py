"""Mails and archives: what lies in them becomes documents of their own, whose jobs end before theirs."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path

import pytest

from database.documents import children, contents, documents
from database.jobs import jobs as job_rows
from database.records import (
    LOCAL_ACTOR,
    SERVICE_ACTOR,
    DocumentFilter,
)
from services.content import Limits
from services.documents.documents import delete_document, list_documents, reprocess
from services.jobs.client import cancel, retry
from services.jobs.jobs import run_claimed_job
from services.runtime import Runtime
from services.settings import Settings
from tests.data.build_mail import lying_zip, zip_of, zip_twice
from tests.support.child_cases import (
    NOTE,
    OTHER,
    children_of,
    finds,
    job_of,
    latest_job,
    mail_with,
    run_all,
    send,
)
from tests.support.databases import Databases
from tests.support.ingest_cases import WORKER, document_of, run_next, text_of
from tests.support.paths import DATA
from tests.support.runtimes import open_runtime


class SmallSettings(Settings):
    """Settings under which five documents are the most that one upload may hold."""

    @property
    def limits(self) -> Limits:
        return dataclasses.replace(super().limits, max_archive_entries=5)


@pytest.fixture
def small_runtime(databases: Databases, tmp_path: Path) -> Iterator[Runtime]:
    data_dir = tmp_path / "small"
    opened = open_runtime(SmallSettings(data_dir=data_dir, text_model="hash", **databases.given(data_dir)))
    yield opened
    opened.close()


def test_the_attachments_of_a_mail_are_searchable_and_its_job_ends_after_theirs(
    runtime: Runtime, tmp_path: Path
) -> None:
    files = {"report_pdf": (DATA / "report.pdf").read_bytes(), "letter_png": (DATA / "letter.png").read_bytes()}
    document_id, job_id = send(runtime, tmp_path, "papers.eml", mail_with(**files), ocr="off")
    waits = run_next(runtime)
    assert (waits.job_id, waits.status, waits.stage, waits.worker_id) == (job_id, "in_progress", "storing", None)
    assert (waits.pages_done, waits.pages_total, waits.percent) == (1, 3, 66.7)
    assert "file what is attached" in text_of(runtime, document_id)  # it can be read before its children
    inside = children_of(runtime, document_id)
    assert {(d.filename, d.file_type, d.status, d.parent_id) for d in inside.values()} == {
        ("report.pdf", "pdf", "queued", document_id),
        ("letter.png", "png", "queued", document_id),
    }
    assert run_next(runtime).status.startswith("completed")
    halfway = job_of(runtime, job_id)
    assert (halfway.status, halfway.pages_done) == ("in_progress", 2)
    assert run_next(runtime).status.startswith("completed")
    parent = job_of(runtime, job_id)
    assert (parent.status, parent.percent, parent.pages_done) == ("completed", 100.0, 3)
    assert parent.finished_at is not None
    assert all(parent.finished_at >= (latest_job(runtime, child).finished_at or "") for child in inside.values())
    assert document_of(runtime, document_id).status == "completed"
    assert inside["report.pdf"].document_id in finds(runtime, "report harbour survey the")
    assert run_all(runtime) == []


def test_lists_leave_out_what_lies_in_other_documents(runtime: Runtime, tmp_path: Path) -> None:
    document_id, _ = send(runtime, tmp_path, "batch.zip", zip_of({"a/note.txt": NOTE, "b/note.txt": OTHER}))
    run_all(runtime)
    listed = list_documents(runtime, LOCAL_ACTOR, only=DocumentFilter())
    assert [document.document_id for document in listed.data] == [document_id]
    inside = list_documents(runtime, LOCAL_ACTOR, only=DocumentFilter(), parent_id=document_id)
    assert {document.filename for document in inside.data} == {"a/note.txt", "b/note.txt"}


def test_deleting_the_parent_removes_everything_of_its_children(runtime: Runtime, tmp_path: Path) -> None:
    inner = zip_of({"deep.txt": OTHER})
    document_id, _ = send(runtime, tmp_path, "papers.eml", mail_with(note_txt=NOTE, inner_zip=inner))
    run_all(runtime)
    assert len(finds(runtime, "harbour lighthouse")) >= 2
    delete_document(runtime, LOCAL_ACTOR, document_id)
    assert finds(runtime, "harbour lighthouse") == set()
    assert [entry.sha256 for entry in runtime.blobs.entries()] == []
    with runtime.store.begin(SERVICE_ACTOR) as tx:
        assert children.family(tx, document_id) == []
        assert job_rows.list_page(tx, limit=9, cursor=None).data == []


def test_deleting_a_child_that_runs_ends_the_parent(runtime: Runtime, tmp_path: Path) -> None:
    document_id, job_id = send(runtime, tmp_path, "batch.zip", zip_of({"a.txt": NOTE}))
    run_next(runtime)
    child = children_of(runtime, document_id)["a.txt"]
    claimed = runtime.store.claim_job(WORKER)
    assert claimed is not None
    delete_document(runtime, LOCAL_ACTOR, child.document_id)
    assert job_of(runtime, job_id).status == "completed"
    run_claimed_job(claimed, runtime, WORKER)
    assert children_of(runtime, document_id) == {}


def test_archives_in_mails_in_archives_are_read_to_the_ground(runtime: Runtime, tmp_path: Path) -> None:
    packed = zip_of({"mail.eml": mail_with(inner_zip=zip_of({"deep/note.txt": OTHER}))})
    document_id, job_id = send(runtime, tmp_path, "outer.zip", packed)
    order = [job.job_id for job in run_all(runtime)]
    assert job_of(runtime, job_id).status == "completed"
    assert len(order) == 4
    below = document_id
    for name in ("mail.eml", "inner.zip", "deep/note.txt"):
        (child,) = children_of(runtime, below).values()
        assert (child.filename, child.status) == (name, "completed")
        below = child.document_id
    assert "lighthouse" in text_of(runtime, below)
    with runtime.store.begin(LOCAL_ACTOR) as tx:
        assert children.lineage(tx, below) == children.Lineage(document_id, 3)
        assert children.count_inside(tx, document_id)[0] == 3


def test_archives_inside_each_other_end_at_the_limit_of_levels(runtime: Runtime, tmp_path: Path) -> None:
    packed = zip_of({"note.txt": NOTE})
    for level in range(13):
        packed = zip_of({f"{level}.zip": packed})
    document_id, job_id = send(runtime, tmp_path, "deep.zip", packed)
    run_all(runtime)
    assert job_of(runtime, job_id).status == "completed"
    with runtime.store.begin(LOCAL_ACTOR) as tx:
        levels = [documents.get(tx, member) for member in children.family(tx, document_id)]
    assert len(levels) == runtime.settings.limits.max_archive_depth + 1
    told = [w["code"] for level in levels if level is not None for w in level.warnings]
    assert told == ["archive_too_deep"]


def test_one_upload_holds_only_so_many_documents_at_all_levels(small_runtime: Runtime, tmp_path: Path) -> None:
    inner = {f"{n}.zip": zip_of({f"{n}-{m}.txt": f"note {n} {m}\n".encode() for m in range(4)}) for n in range(3)}
    document_id, job_id = send(small_runtime, tmp_path, "many.zip", zip_of(inner))
    run_all(small_runtime)
    with small_runtime.store.begin(LOCAL_ACTOR) as tx:
        assert children.count_inside(tx, document_id)[0] == 5
    assert job_of(small_runtime, job_id).status == "completed"
    told = [w["code"] for child in children_of(small_runtime, document_id).values() for w in child.warnings]
    assert told.count("too_many_entries") == 10


def test_a_child_that_fails_is_named_and_costs_nothing_else(runtime: Runtime, tmp_path: Path) -> None:
    broken = (DATA / "report.pdf").read_bytes()[:400]
    document_id, job_id = send(runtime, tmp_path, "batch.zip", zip_of({"bad.pdf": broken, "good.txt": NOTE}))
    run_all(runtime)
    job, parent = job_of(runtime, job_id), document_of(runtime, document_id)
    assert (job.status, parent.status) == ("completed_with_errors", "completed_with_errors")
    assert [warning["code"] for warning in parent.warnings] == ["child_failed"]
    assert "'bad.pdf'" in parent.warnings[0]["message"]
    inside = children_of(runtime, document_id)
    assert (inside["bad.pdf"].status, inside["good.txt"].status) == ("failed", "completed")
    delete_document(runtime, LOCAL_ACTOR, inside["bad.pdf"].document_id)
    assert (document_of(runtime, document_id).status, document_of(runtime, document_id).warnings) == ("completed", [])


def test_what_cannot_be_read_at_all_is_named_and_left_out(runtime: Runtime, tmp_path: Path) -> None:
    program = b"\x7fELF" + bytes(range(256)) * 8
    document_id, _ = send(runtime, tmp_path, "batch.zip", zip_of({"bin/tool": program, "good.txt": NOTE}))
    run_all(runtime)
    parent = document_of(runtime, document_id)
    assert [warning["code"] for warning in parent.warnings] == ["attachment_skipped"]
    assert "'bin/tool'" in parent.warnings[0]["message"]
    assert set(children_of(runtime, document_id)) == {"good.txt"}


def test_the_same_bytes_are_a_document_for_each_name(runtime: Runtime, tmp_path: Path) -> None:
    with pytest.warns(UserWarning, match="Duplicate name"):
        packed = zip_twice("a.txt", NOTE)
    document_id, _ = send(runtime, tmp_path, "batch.zip", packed)
    run_all(runtime)
    assert set(children_of(runtime, document_id)) == {"a.txt", "copy/a.txt"}


def test_a_run_that_was_stopped_goes_on_and_doubles_nothing(runtime: Runtime, tmp_path: Path) -> None:
    packed = zip_of({f"{n}.txt": f"note {n}\n".encode() for n in range(6)})
    document_id, job_id = send(runtime, tmp_path, "batch.zip", packed)
    claimed = runtime.store.claim_job("worker-that-stops")
    assert claimed is not None

    def stop_after_three() -> bool:
        with runtime.store.begin(LOCAL_ACTOR) as tx:
            return children.count_inside(tx, document_id)[0] >= 3

    run_claimed_job(claimed, runtime, "worker-that-stops", stop_after_three)
    assert job_of(runtime, job_id).status == "queued"
    assert children_of(runtime, document_id) == {}  # they are not there before their parent is
    with runtime.store.begin(LOCAL_ACTOR) as tx:
        before = set(children.family(tx, document_id))
    assert 3 <= len(before) - 1 < 6
    run_all(runtime)
    inside = children_of(runtime, document_id)
    assert len(inside) == 6
    assert before <= {document_id, *(child.document_id for child in inside.values())}
    assert job_of(runtime, job_id).status == "completed"


def test_a_parent_that_does_not_come_to_its_end_leaves_no_children(settings: Settings, tmp_path: Path) -> None:
    opened = open_runtime(settings.model_copy(update={"heartbeat_s": 0.001}))
    packed = zip_of({f"{n}.txt": f"note {n}\n".encode() for n in range(40)})
    document_id, job_id = send(opened, tmp_path, "batch.zip", packed)
    claimed = opened.store.claim_job(WORKER)
    assert claimed is not None
    seen: list[int] = []

    def cancel_after_three() -> bool:
        with opened.store.begin(LOCAL_ACTOR) as tx:
            seen.append(children.count_inside(tx, document_id)[0])
        if seen[-1] >= 3 and job_of(opened, job_id).status == "in_progress":
            cancel(opened, LOCAL_ACTOR, job_id)
        return False

    run_claimed_job(claimed, opened, WORKER, cancel_after_three)
    assert max(seen) >= 3
    assert job_of(opened, job_id).status == "cancelled"
    with opened.store.begin(LOCAL_ACTOR) as tx:
        assert list(children.family(tx, document_id)) == [document_id]
    opened.close()


def test_a_member_that_lies_about_its_size_costs_no_other(runtime: Runtime, tmp_path: Path) -> None:
    document_id, job_id = send(runtime, tmp_path, "bomb.zip", lying_zip({"a.txt": NOTE, "bomb.txt": b"0" * 20_000_000}))
    run_all(runtime)
    assert job_of(runtime, job_id).status == "completed_with_errors"
    assert [warning["code"] for warning in document_of(runtime, document_id).warnings] == ["member_unreadable"]
    assert set(children_of(runtime, document_id)) == {"a.txt"}


def test_cancelling_the_parent_cancels_what_lies_in_it(runtime: Runtime, tmp_path: Path) -> None:
    inner = zip_of({"deep.txt": OTHER})
    document_id, job_id = send(runtime, tmp_path, "batch.zip", zip_of({"a.txt": NOTE, "inner.zip": inner}))
    run_next(runtime)
    run_next(runtime)  # a.txt
    run_next(runtime)  # inner.zip, which waits for deep.txt now
    view = cancel(runtime, LOCAL_ACTOR, job_id)
    assert view.job.status == "cancelled"
    inside = children_of(runtime, document_id)
    assert (inside["a.txt"].status, latest_job(runtime, inside["inner.zip"]).status) == ("completed", "cancelled")
    assert run_all(runtime) == []
    retry(runtime, LOCAL_ACTOR, job_id)
    ended = run_all(runtime)
    assert job_of(runtime, job_id).status == "completed"
    assert "a.txt" not in {document_of(runtime, job.document_id or "").filename for job in ended}
    assert children_of(runtime, document_id)["inner.zip"].status == "completed"
    assert finds(runtime, "lighthouse")


def test_a_cancelled_parent_ends_when_the_child_that_runs_has_stopped(runtime: Runtime, tmp_path: Path) -> None:
    _, job_id = send(runtime, tmp_path, "batch.zip", zip_of({"a.txt": NOTE}))
    run_next(runtime)
    child = runtime.store.claim_job(WORKER)
    assert child is not None
    assert cancel(runtime, LOCAL_ACTOR, job_id).job.status == "cancelling"
    run_claimed_job(child, runtime, WORKER)
    assert job_of(runtime, child.job_id).status == "cancelled"
    assert job_of(runtime, job_id).status == "cancelled"


def test_reprocessing_reads_the_children_again_and_keeps_their_ids(runtime: Runtime, tmp_path: Path) -> None:
    long = b"The harbour opens at dawn. " * 60
    document_id, _ = send(runtime, tmp_path, "batch.zip", zip_of({"a.txt": long, "b.txt": OTHER}))
    run_all(runtime)
    before = children_of(runtime, document_id)
    view = reprocess(runtime, LOCAL_ACTOR, document_id, {"chunk_size": 300, "chunk_overlap": 20})
    run_all(runtime)
    assert job_of(runtime, view.job.job_id).status == "completed"
    after = children_of(runtime, document_id)
    assert {n: d.document_id for n, d in after.items()} == {n: d.document_id for n, d in before.items()}
    assert after["a.txt"].total_chunks > before["a.txt"].total_chunks
    assert after["a.txt"].options["chunk_size"] == 300


def test_reprocessing_while_children_run_ends_the_waiting_job_and_starts_over(runtime: Runtime, tmp_path: Path) -> None:
    document_id, job_id = send(runtime, tmp_path, "batch.zip", zip_of({"a.txt": NOTE}))
    run_next(runtime)
    view = reprocess(runtime, LOCAL_ACTOR, document_id, None)
    assert job_of(runtime, job_id).status == "cancelled"
    run_all(runtime)
    assert job_of(runtime, view.job.job_id).status == "completed"
    assert children_of(runtime, document_id)["a.txt"].status == "completed"


@pytest.mark.parametrize("name", ["batch.zip", "papers.eml"])
def test_the_pages_that_are_asked_for_are_those_of_the_upload_alone(
    runtime: Runtime, tmp_path: Path, name: str
) -> None:
    report = (DATA / "report.pdf").read_bytes()
    data = zip_of({"report.pdf": report}) if name == "batch.zip" else mail_with(report_pdf=report)
    document_id, job_id = send(runtime, tmp_path, name, data, pages="1", extract_images=False)
    run_all(runtime)
    assert job_of(runtime, job_id).error is None
    child = children_of(runtime, document_id)["report.pdf"]
    assert (child.status, child.options["pages"], child.options["extract_images"]) == ("completed", "", False)
    assert child.page_count > 1
    with runtime.store.begin(LOCAL_ACTOR) as tx:
        assert [page.number for page in contents.read_pages(tx, child.document_id)] == list(
            range(1, child.page_count + 1)
        )
    view = reprocess(runtime, LOCAL_ACTOR, document_id, {"pages": "1-1"})
    run_all(runtime)
    assert job_of(runtime, view.job.job_id).error is None
    assert latest_job(runtime, child).options["pages"] == ""
