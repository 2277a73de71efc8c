"""Joining ranked lists."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.search.search import RRF_K, SEMANTIC_WEIGHT, fuse_by_rank, fuse_by_value

SCORES = st.dictionaries(st.text(min_size=1, max_size=3), st.floats(-1, 1), max_size=20)


def test_both_lists_count_by_their_weight() -> None:
    fused = {item.id: item.score for item in fuse_by_value({"a": 0.8, "b": 0.2}, {"b": 10.0, "c": 5.0})}
    assert fused["a"] == pytest.approx(SEMANTIC_WEIGHT)
    assert fused["b"] == pytest.approx(1 - SEMANTIC_WEIGHT)
    assert fused["c"] == pytest.approx((1 - SEMANTIC_WEIGHT) / 2)


def test_candidate_without_a_vector_counts_as_the_farthest() -> None:
    fused = {item.id: item for item in fuse_by_value({"a": 0.8, "b": 0.2}, {"c": 3.0, "b": 3.0})}
    assert fused["c"].score == fused["b"].score
    assert fused["c"].semantic is None


def test_candidate_without_the_words_keeps_its_cosine() -> None:
    fused = {item.id: item for item in fuse_by_value({"a": 0.8}, {"b": 3.0})}
    assert (fused["a"].semantic, fused["a"].keyword) == (0.8, None)


@given(SCORES, st.dictionaries(st.text(min_size=1, max_size=3), st.floats(0, 50), max_size=20))
def test_fusion_by_value_keeps_every_candidate_in_bounds_and_order(
    semantic: dict[str, float], keyword: dict[str, float]
) -> None:
    fused = fuse_by_value(semantic, keyword)
    assert {item.id for item in fused} == set(semantic) | set(keyword)
    assert all(-1e-9 <= item.score <= 1 + 1e-9 for item in fused)
    assert [item.score for item in fused] == sorted((item.score for item in fused), reverse=True)


def test_fusion_by_rank_adds_reciprocal_ranks() -> None:
    fused = dict(fuse_by_rank([["a", "b"], ["b", "c"]]))
    assert fused["b"] == pytest.approx(1 / (RRF_K + 2) + 1 / (RRF_K + 1))
    assert list(fused) == ["b", "a", "c"]


@given(st.lists(st.lists(st.integers(0, 30), unique=True, max_size=10), max_size=4))
def test_fusion_by_rank_keeps_every_entry_once(lists: list[list[int]]) -> None:
    fused = fuse_by_rank(lists)
    assert sorted(key for key, _ in fused) == sorted({entry for entries in lists for entry in entries})
    assert [score for _, score in fused] == sorted((score for _, score in fused), reverse=True)
