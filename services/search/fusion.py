"""Puts ranked lists together: by value where two scores judge the same thing, by rank where they do not."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

SEMANTIC_WEIGHT = 0.7
"""Share of the cosine, the rest is BM25's; both scaled to 0..1 over the candidates.

Source: nDCG@10 over chunks of at most 1000 characters, all-mpnet-base-v2 and FTS5, 200 candidates of each list.

=====================  =========  ======
ranking                Cranfield  CISI
=====================  =========  ======
semantic alone         .387       .351
keyword alone          .380       .322
by rank (RRF)          .448       .400
by value, weight .5    .442       .388
by value, weight .6    .451       .413
by value, weight .7    .452       .422
by value, weight .8    .442       .414
=====================  =========  ======

Scaled by standard deviations instead, weight .6 gave .453 and .429: no more than the noise of 152 queries, and its
score has no bounds. Looking up the BM25 of candidates beyond the keyword list's end, instead of taking 0, changed less
than .002.
The shape follows Bruch, Gai, Ingber, An Analysis of Fusion Functions for Hybrid Retrieval, ACM TOIS 2023.
"""

RRF_K = 60
"""Source: Cormack, Clarke, Buettcher, Reciprocal Rank Fusion outperforms Condorcet and individual Rank Learning
Methods, SIGIR 2009."""

K = TypeVar("K", bound=Hashable)


@dataclass(frozen=True, slots=True)
class FusedScore:
    """A candidate of the text search."""

    id: str
    score: float
    """0 to 1 when two lists were fused."""
    semantic: float | None
    """Cosine; None where the candidate has no vector."""
    keyword: float | None
    """BM25; None where the keyword list does not hold it."""


def fuse_by_value(semantic: Mapping[str, float], keyword: Mapping[str, float]) -> list[FusedScore]:
    """The candidates of both lists by the weighted mean of their scaled scores, best first; ties by id.

    `semantic` has the exact cosine of every candidate that has a vector, also of those that only the keyword list
    found: a cosine that is missing counts as the lowest. A BM25 that is missing counts as 0, which it is where no word
    occurs.
    """
    cosines, scores = _scaled(semantic), _scaled(keyword, lowest=0.0)
    fused = [
        FusedScore(
            id,
            SEMANTIC_WEIGHT * cosines.get(id, 0.0) + (1.0 - SEMANTIC_WEIGHT) * scores.get(id, 0.0),
            semantic.get(id),
            keyword.get(id),
        )
        for id in {**semantic, **keyword}
    ]
    return sorted(fused, key=lambda item: (-item.score, item.id))


def fuse_by_rank(lists: Sequence[Sequence[K]]) -> list[tuple[K, float]]:
    """The entries of all lists by the sum of 1 / (60 + rank), best first; of equal ones the one that was met first."""
    scores: dict[K, float] = {}
    for entries in lists:
        for rank, entry in enumerate(entries, 1):
            scores[entry] = scores.get(entry, 0.0) + 1.0 / (RRF_K + rank)
    return sorted(scores.items(), key=lambda item: -item[1])


def _scaled(scores: Mapping[str, float], lowest: float | None = None) -> dict[str, float]:
    """`scores` moved and stretched to 0..1, from `lowest` (default: the least one) to the greatest."""
    if not scores:
        return {}
    low = min(scores.values()) if lowest is None else lowest
    span = max(scores.values()) - low
    return {id: (score - low) / span if span > 0 else 1.0 for id, score in scores.items()}
