"""Files that are gone from where they were stored: told as such, wherever one is asked for."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest

from database.documents import documents, images
from database.records import LOCAL_ACTOR
from services.runtime import Runtime
from tests.support.api_server import assert_problem, ingest, opened
from tests.support.databases import Databases
from tests.support.paths import DATA


@pytest.fixture(scope="module")
def server(
    module_databases: Databases, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Runtime, httpx.Client]]:
    with opened(module_databases, tmp_path_factory.mktemp("missing")) as both:
        yield both


@pytest.mark.parametrize("name", ["letter.png", "report.pdf"])
def test_whatever_is_made_of_a_missing_file_says_that_it_is_missing(
    server: tuple[Runtime, httpx.Client], name: str
) -> None:
    runtime, client = server
    document_id = ingest(client, name, (DATA / name).read_bytes())
    with runtime.store.begin(LOCAL_ACTOR) as tx:
        document, pictures = documents.get(tx, document_id), images.list_images(tx, document_id)
    assert document is not None
    assert pictures
    for sha256 in {document.sha256, *(picture.sha256 for picture in pictures)}:
        runtime.blobs.path(sha256).unlink()
    of_picture = f"/v1/images/{pictures[0].image_id}"
    paths = [f"/v1/documents/{document_id}/file", f"/v1/documents/{document_id}/pages/1/image"]
    for path in (*paths, f"{of_picture}/content", f"{of_picture}/thumbnail"):
        problem = assert_problem(client.get(path), 404, "file_missing")
        assert "Upload the document again" in problem["detail"], path
        assert document.sha256 not in str(problem)
