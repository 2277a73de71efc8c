"""Fills a data folder with chunks whose vectors are random, so that a search can be timed on an index of any size."""

from __future__ import annotations

import hashlib
import random
from pathlib import Path

import numpy as np

from bench.corpus import paragraph
from database.documents import contents, documents, generations
from database.ids import new_id
from database.jobs import jobs as job_rows
from database.opening import open_store
from database.records import LOCAL_ACTOR, SERVICE_ACTOR, ChunkRecord, GenerationSummary
from services.embedding.opening import open_text_embedder
from services.options import Options
from services.settings import Settings

CHUNKS_PER_DOCUMENT = 1000


def fill(data_dir: Path, count: int, seed: int) -> None:
    """Adds `count` chunks in documents of 1,000, each with text for the keyword index and a random unit vector."""
    space = open_text_embedder(Settings(data_dir=data_dir)).space
    rng, noise = random.Random(seed), np.random.default_rng(seed)
    store = open_store(data_dir)
    try:
        store.upgrade()
        done = 0
        while done < count:
            size = min(CHUNKS_PER_DOCUMENT, count - done)
            vectors = noise.standard_normal((size, 768), dtype=np.float32)
            vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
            texts = [paragraph(rng, 900) for _ in range(size)]
            name = f"filled-{seed}-{done}.txt"
            with store.begin(LOCAL_ACTOR, write=True) as tx:
                submission = documents.submit_upload(
                    tx,
                    filename=name,
                    file_type="text",
                    media_type="text/plain",
                    file_size=sum(map(len, texts)),
                    sha256=hashlib.sha256(name.encode()).hexdigest(),
                    options=Options().as_json(),
                    metadata={},
                )
            job = store.claim_job("fill")
            assert job is not None
            document_id = submission.document.document_id
            start = 0
            records = []
            for index, text in enumerate(texts):
                records.append(
                    ChunkRecord(
                        chunk_id=new_id(),
                        document_id=document_id,
                        generation=job.generation,
                        chunk_index=index,
                        chunk_text=text,
                        prefix="",
                        spans=[{"page": 1, "char_start": start, "char_end": start + len(text), "boxes": []}],
                        content_hash=hashlib.sha256(text.encode()).hexdigest(),
                        space=space,
                        embedding=vectors[index],
                    )
                )
                start += len(text)
            summary = GenerationSummary(name, "", "en", 1, size, start, 0, "completed", [])
            with store.begin(SERVICE_ACTOR, write=True) as tx:
                contents.write_chunks(tx, document_id, job.generation, records)
                generations.publish(tx, document_id, job.generation, summary)
                job_rows.finish(tx, job.job_id, worker_id="fill", status="completed")
            done += size
    finally:
        store.close()
