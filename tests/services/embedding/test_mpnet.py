from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
from tokenizers import Tokenizer

from services.embedding.base import Vectors
from services.embedding.mpnet import MpnetEmbedder
from services.embedding.opening import open_text_embedder
from services.errors import CapabilityMissing
from services.settings import Settings

TEXTS = [
    "The tenant pays the rent on the first day of each month.",
    "Die Miete ist am ersten Tag des Monats fällig; naïve café “quotes” — and a dash.",
    "",
    "SELECT name FROM users WHERE id = 3; -- 1,024.50 €",
    "A long text about storage and search. " * 90,
    "short",
]


@pytest.fixture(scope="module")
def exact() -> MpnetEmbedder:
    return MpnetEmbedder(Settings(model_dtype="float32"))


@pytest.fixture(scope="module")
def reference() -> Vectors:
    """What the model's own library makes of TEXTS; in a process of its own, as it warns and changes global state."""
    code = (
        "import os, sys; os.environ['HF_HUB_OFFLINE'] = '1'; sys.path.insert(0, '.')\n"
        "from services.embedding.torch_compat import ensure_torchvision_operators; ensure_torchvision_operators()\n"
        "from sentence_transformers import SentenceTransformer; import json\n"
        "model = SentenceTransformer(sys.argv[1], device='cpu')\n"
        "vectors = model.encode(json.load(sys.stdin), batch_size=2, show_progress_bar=False)\n"
        "json.dump(vectors.tolist(), sys.stdout)\n"
    )
    import json

    folder = MpnetEmbedder(Settings()).tokenizer_path
    assert folder is not None
    done = subprocess.run(
        [sys.executable, "-c", code, str(folder.parent)], input=json.dumps(TEXTS), capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    vectors = np.array(json.loads(done.stdout), dtype=np.float32)
    unit: Vectors = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    return unit


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_vectors_are_those_of_sentence_transformers(reference: Vectors, exact: MpnetEmbedder, dtype: str) -> None:
    embedder = exact if dtype == "float32" else MpnetEmbedder(Settings(model_dtype="bfloat16"))
    vectors = embedder.embed(TEXTS)
    assert vectors.shape == (len(TEXTS), 768)
    assert vectors.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1.0, atol=1e-5)
    assert np.sum(vectors * reference, axis=1).min() >= 0.9999


def test_order_is_kept_and_neighbours_do_not_change_a_vector(exact: MpnetEmbedder) -> None:
    together = exact.embed(TEXTS)
    for row, text in zip(together, TEXTS, strict=True):
        np.testing.assert_allclose(row, exact.embed([text])[0], atol=2e-5)


def test_no_texts_make_no_rows(exact: MpnetEmbedder) -> None:
    assert exact.embed([]).shape == (0, 768)


def test_tokens_beyond_the_limit_are_not_seen(exact: MpnetEmbedder) -> None:
    tokenizer = Tokenizer.from_file(str(exact.tokenizer_path))
    tokenizer.no_truncation()
    tokenizer.no_padding()
    words = ["word"] * (exact.max_tokens - 2)
    assert len(tokenizer.encode(" ".join(words)).ids) == exact.max_tokens
    full, longer, shorter = exact.embed([" ".join(words), " ".join([*words, "more"]), " ".join(words[:-1])])
    np.testing.assert_allclose(full, longer, atol=1e-6)
    assert not np.allclose(full, shorter, atol=1e-6)


def test_meaning_decides(exact: MpnetEmbedder) -> None:
    question, rent, weather = exact.embed(["When is the rent due?", TEXTS[0], "It will rain tomorrow."])
    assert question @ rent > question @ weather + 0.3


def test_nothing_is_loaded_before_the_first_use() -> None:
    code = (
        "import sys; from services.settings import Settings; "
        "from services.embedding.opening import open_text_embedder; "
        "embedder = open_text_embedder(Settings()); assert not embedder.is_loaded; "
        "assert embedder.space == 'all-mpnet-base-v2@78c0197b6159'; assert 'torch' not in sys.modules; "
        "embedder.warm_up(); assert embedder.is_loaded"
    )
    done = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_absent_weights_say_how_to_fetch_them(tmp_path: Path) -> None:
    embedder = open_text_embedder(Settings(cache_dir=tmp_path))
    with pytest.raises(CapabilityMissing, match="docatlas models pull") as raised:
        embedder.embed(["text"])
    assert raised.value.code == "model_missing"


def test_a_query_overtakes_an_ingest(exact: MpnetEmbedder) -> None:
    order: list[str] = []
    started = threading.Event()

    def ingest() -> None:
        started.set()
        exact.embed(["a passage about nothing in particular, of some length. " * 25] * 12)
        order.append("ingest")

    worker = threading.Thread(target=ingest)
    worker.start()
    started.wait()
    exact.embed(["a question"], urgent=True)
    order.append("query")
    worker.join()
    assert order == ["query", "ingest"]
