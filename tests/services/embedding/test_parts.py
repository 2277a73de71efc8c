"""The parts of embedding that need no weights."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.embedding.batches import token_batches
from services.embedding.dtype import choose_arithmetic
from services.embedding.hashing import HashEmbedder
from services.embedding.opening import open_text_embedder
from services.embedding.priority_lock import Turns
from services.settings import Settings


def test_hash_vectors_are_unit_and_the_same_every_time() -> None:
    embedder = open_text_embedder(Settings(text_model="hash"))
    vectors = embedder.embed(["one text", "", "!!!", "another text"])
    assert vectors.shape == (4, 768)
    assert vectors.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1.0, atol=1e-6)
    np.testing.assert_array_equal(vectors, HashEmbedder().embed(["one text", "", "!!!", "another text"]))


def test_hash_vectors_of_shared_words_lie_closer() -> None:
    contract, contracts, weather = HashEmbedder().embed(["the rent contract", "contracts of rent", "rainy weather"])
    assert contract @ contracts > contract @ weather + 0.2


@given(st.lists(st.integers(1, 400), max_size=60), st.integers(1, 1000))
def test_batches_hold_every_text_once_and_keep_the_budget(lengths: list[int], budget: int) -> None:
    batches = list(token_batches(lengths, budget))
    assert sorted(index for batch in batches for index in batch) == list(range(len(lengths)))
    assert all(len(batch) == 1 or sum(lengths[index] for index in batch) <= budget for batch in batches)


@pytest.mark.parametrize(
    ("flags", "dtype"),
    [
        ("fpu sse2 avx512f avx512_bf16", "bfloat16"),
        ("fpu amx_tile amx_bf16", "bfloat16"),
        ("fpu sse2 avx2 avx512f", "float32"),
        ("", "float32"),
    ],
)
def test_bfloat16_is_chosen_only_where_the_cpu_computes_it(tmp_path: Path, flags: str, dtype: str) -> None:
    cpuinfo = tmp_path / "cpuinfo"
    cpuinfo.write_text(f"processor\t: 0\nflags\t\t: {flags}\n\nprocessor\t: 1\n", encoding="ascii")
    assert choose_arithmetic(Settings(), cpuinfo).dtype == dtype
    assert choose_arithmetic(Settings(model_dtype="float32"), cpuinfo).dtype == "float32"


def test_a_system_without_cpuinfo_computes_in_float32(tmp_path: Path) -> None:
    assert choose_arithmetic(Settings(), tmp_path / "absent").dtype == "float32"


@pytest.mark.parametrize(("own", "expected"), [({}, "PASSIVE"), ({"OMP_WAIT_POLICY": "ACTIVE"}, "ACTIVE")])
def test_waiting_threads_leave_the_cores_to_others_unless_the_user_says_otherwise(
    own: dict[str, str], expected: str
) -> None:
    code = (
        "import os; from services.embedding.threads import prepare_torch; from services.settings import Settings; "
        "prepare_torch(Settings(torch_threads=1)); import torch; "
        "print(os.environ['OMP_WAIT_POLICY'], torch.get_num_threads())"
    )
    environment = {name: value for name, value in os.environ.items() if name != "OMP_WAIT_POLICY"} | own
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.split() == [expected, "1"]


def test_urgent_callers_go_before_all_others() -> None:
    turns = Turns()
    order: list[str] = []

    def call(name: str, urgent: bool) -> None:
        with turns.turn(urgent=urgent):
            order.append(name)

    with turns.turn():
        threads = [
            threading.Thread(target=call, args=(name, name == "query")) for name in ("batch 1", "batch 2", "query")
        ]
        for thread in threads:
            thread.start()
            while not turns.waiting and thread.is_alive():
                pass
        while turns.waiting < 3:
            pass
    for thread in threads:
        thread.join()
    assert order[0] == "query"
    assert sorted(order[1:]) == ["batch 1", "batch 2"]


def test_a_turn_is_given_back_after_an_error() -> None:
    turns = Turns()
    with pytest.raises(ValueError, match="broken"), turns.turn():
        raise ValueError("broken")
    with turns.turn(urgent=True):
        assert turns.waiting == 0
