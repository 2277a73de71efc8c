"""What the tests of the store share: small documents to put into it."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

import numpy as np

from database.accounts import users
from database.documents import contents, documents, generations
from database.ids import new_id
from database.records import (
    LOCAL_ACTOR,
    SERVICE_ACTOR,
    Actor,
    ChunkRecord,
    DocumentFilter,
    GenerationSummary,
    ImageRecord,
    PageRecord,
    Submission,
    Vector,
)
from database.store import Store

SPACE = "test-space@1"
OTHER_ACTOR = Actor("00000000-0000-7000-8000-000000000002")
EVERYTHING = DocumentFilter()


def prepare(store: Store) -> None:
    """Brings a new store to the newest schema and adds a second owner."""
    store.upgrade()
    with store.begin(SERVICE_ACTOR, write=True) as tx:
        users.ensure(tx, OTHER_ACTOR.user_id, display_name="other")


def unit(seed: int) -> Vector:
    """A vector of unit length, the same for the same seed."""
    vector = np.random.default_rng(seed).standard_normal(768).astype(np.float32)
    scaled: Vector = vector / np.linalg.norm(vector)
    return scaled


def digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def submit(store: Store, name: str = "a.txt", *, actor: Actor = LOCAL_ACTOR, **given: Any) -> Submission:
    """Submits a file whose content is told by its name."""
    values: dict[str, Any] = {
        "filename": name,
        "file_type": "text",
        "media_type": "text/plain",
        "file_size": 10,
        "sha256": digest(name),
        "options": {"chunk_size": 1000},
        "metadata": {},
    }
    with store.begin(actor, write=True) as tx:
        return documents.submit_upload(tx, **{**values, **given})


def chunk(index: int, text: str, *, vector: Vector | None = None, space: str = SPACE, page: int = 1) -> ChunkRecord:
    return ChunkRecord(
        chunk_id=new_id(),
        document_id="",
        generation=0,
        chunk_index=index,
        chunk_text=text,
        prefix="",
        spans=[{"page": page, "char_start": 0, "char_end": len(text), "boxes": []}],
        content_hash=digest(text),
        space=None if vector is None else space,
        embedding=vector,
    )


def page(number: int, text: str = "some text") -> PageRecord:
    return PageRecord(
        number=number,
        char_start=0,
        text=text,
        width=612.0,
        height=792.0,
        source="native",
        reason="",
        rotation=0,
        confidence=1.0,
        languages=["eng"],
        word_count=2,
        elapsed_ms=5,
        engine="tesseract",
        layout={"words": [["some", 0, 0, 1, 1, 0, 4, None]], "blocks": []},
    )


def image(ordinal: int, content: str = "picture") -> ImageRecord:
    return ImageRecord(
        image_id=new_id(),
        document_id="",
        generation=0,
        ordinal=ordinal,
        page=1,
        box=[0.0, 0.0, 10.0, 10.0],
        width=64,
        height=64,
        media_type="image/png",
        sha256=digest(content),
        alt="",
        caption="Figure 1",
        space=None,
    )


def summary(total_chunks: int, **given: Any) -> GenerationSummary:
    values: dict[str, Any] = {
        "title": "",
        "author": "",
        "language": "",
        "page_count": 1,
        "total_chunks": total_chunks,
        "total_chars": 100,
        "image_count": 0,
        "status": "completed",
        "warnings": [],
    }
    return GenerationSummary(**{**values, **given})


def write_generation(
    store: Store, document_id: str, generation: int, chunks: Sequence[ChunkRecord], *, publish: bool = True
) -> None:
    """Writes one page and these chunks under a generation, and switches readers to it."""
    with store.begin(SERVICE_ACTOR, write=True) as tx:
        contents.write_page(tx, document_id, generation, page(1, f"generation {generation}"))
        contents.write_chunks(tx, document_id, generation, chunks)
        if publish:
            assert generations.publish(tx, document_id, generation, summary(len(chunks)))


def add_document(
    store: Store, name: str, vectors: Sequence[Vector], *, actor: Actor = LOCAL_ACTOR, **given: Any
) -> tuple[str, list[str]]:
    """A published document with one chunk a vector; its id, and the chunks' in order."""
    document = submit(store, name, actor=actor, **given).document
    chunks = [chunk(index, f"{name} passage {index}", vector=vector) for index, vector in enumerate(vectors)]
    write_generation(store, document.document_id, 1, chunks)
    return document.document_id, [record.chunk_id for record in chunks]
