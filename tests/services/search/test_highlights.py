"""Where in a passage the words of a query stand."""

from __future__ import annotations

from services.search.highlights import QueryWords, best_place, union_box


def test_place_is_the_span_with_most_words() -> None:
    spans = [
        {"page": 1, "char_start": 100, "char_end": 110, "boxes": [[0, 0, 1, 1]]},
        {"page": 2, "char_start": 110, "char_end": 125, "boxes": [[5, 5, 9, 6], [4, 7, 8, 8]]},
    ]
    place = best_place("only rent rent and a crane", spans, QueryWords("rent crane"))
    assert place is not None
    assert (place.page, place.box) == (2, (4, 5, 9, 8))
    first = best_place("only rent rent and a crane", spans, None)
    assert first is not None
    assert first.page == 1
    beside = best_place("only rent rent and a crane", spans, None, page=2)
    assert beside is not None
    assert beside.page == 2
    assert best_place("", [], None) is None
    assert union_box([]) is None
