"""The README's picture shows what a server answers."""

from __future__ import annotations

from fastapi.testclient import TestClient
from PIL import Image

from api.app import create_app
from docs.build_picture import PICTURE, ask, boxes_of, cited_sentence, draw
from services.jobs.worker import Worker
from services.runtime import Runtime


def test_cited_sentence_stands_in_its_boxes(runtime: Runtime) -> None:
    with Worker(runtime) as worker, TestClient(create_app(runtime, worker), base_url="http://127.0.0.1") as client:
        hit, page, image = ask(client)
    sentence, offset = cited_sentence(hit)
    assert sentence == "Either party may end this agreement in writing with three months notice."
    assert hit["text"][offset:].startswith(sentence)
    boxes = boxes_of(hit, page, sentence, offset)
    assert len(boxes) == 2, "the sentence takes two lines"
    x0, y0, x1, y1 = hit["box"]
    for box in boxes:
        assert x0 - 2 <= box[0] < box[2] <= x1 + 2
        assert y0 - 2 <= box[1] < box[3] <= y1 + 2
    assert sentence.split()[0] in draw(hit, page, image)


def test_picture_is_small() -> None:
    assert PICTURE.stat().st_size < 150_000
    with Image.open(PICTURE) as picture:
        assert picture.width > 1000
