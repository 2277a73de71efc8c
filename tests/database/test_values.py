"""Numbers, times and texts at the edges of their types: either store compares them by their value, and refuses none."""

from __future__ import annotations

from typing import Any

import pytest

from database.documents import documents
from database.records import LOCAL_ACTOR, Condition, DocumentFilter
from database.store import Store
from tests.support.store_cases import submit

NUMBERS: dict[str, Any] = {
    "one": 1,
    "half": 0.5,
    "2**53 + 1": 2**53 + 1,
    "2.0**53": 2.0**53,
    "2**60": 2**60,
    "2.0**60": 2.0**60,
    "10**30": 10**30,
    "1e308": 1e308,
    "10**400": 10**400,
    "-10**400": -(10**400),
    "text": "1",
    "true": True,
}
"""What the key `n` of a document's metadata is, by the document's name."""


@pytest.fixture
def filled(store: Store) -> Store:
    for name, number in NUMBERS.items():
        submit(store, name, metadata={"n": number}, file_size=5_000)
    return store


def found(store: Store, *conditions: tuple[str, Any, Any]) -> set[str]:
    only = DocumentFilter(conditions=[Condition(*condition) for condition in conditions])
    with store.begin(LOCAL_ACTOR) as tx:
        return {document.filename for document in documents.list_page(tx, only=only, limit=200, cursor=None).data}


def test_numbers_of_metadata_are_compared_by_their_value(filled: Store) -> None:
    large = {"10**30", "1e308", "10**400"}
    cases: list[tuple[str, Any, set[str]]] = [
        ("$eq", 1, {"one"}),
        ("$eq", 1.0, {"one"}),
        ("$eq", 0.5, {"half"}),
        ("$eq", 2**53, {"2.0**53"}),
        ("$eq", 2.0**53, {"2.0**53"}),
        ("$eq", 2**53 + 1, {"2**53 + 1"}),
        ("$eq", 2**60, {"2**60", "2.0**60"}),
        ("$eq", 2.0**60, {"2**60", "2.0**60"}),
        ("$eq", 1e30, {"10**30"}),
        ("$eq", 1e308, {"1e308"}),
        ("$gte", 2.0**60, {"2**60", "2.0**60"} | large),
        ("$gte", 1e18, {"2**60", "2.0**60"} | large),
        ("$gte", 1e300, {"1e308", "10**400"}),
        ("$lte", 0.75, {"half", "-10**400"}),
        ("$lte", -1e300, {"-10**400"}),
        ("$in", [1, 0.5], {"one", "half"}),
        ("$in", [0, 1.5, 2**40], set()),
        ("$in", [0.5, 2**60, "1", True], {"half", "2**60", "2.0**60", "text", "true"}),
    ]
    for operator, value, names in cases:
        assert found(filled, ("metadata.n", operator, value)) == names, (operator, value)


def test_numbers_of_documents_are_compared_with_any_number(filled: Store) -> None:
    everything = set(NUMBERS)
    cases: list[tuple[str, str, Any, bool]] = [
        ("page_count", "$lte", 2**40, True),
        ("page_count", "$eq", 2**40, False),
        ("page_count", "$gte", -(2**70), True),
        ("page_count", "$in", [2**40, 0.5, 2**80], False),
        ("page_count", "$lte", 1e300, True),
        ("size_bytes", "$gte", 4_999.6, True),
        ("size_bytes", "$gte", 5_000.4, False),
        ("size_bytes", "$lte", 4_999.6, False),
        ("size_bytes", "$eq", 5_000.0, True),
        ("size_bytes", "$eq", 5_000.4, False),
        ("size_bytes", "$in", [4_999.6, 5_000.4], False),
        ("size_bytes", "$gte", 2**63, False),
    ]
    for field, operator, value, is_found in cases:
        assert found(filled, (field, operator, value)) == (everything if is_found else set()), (field, operator, value)


def test_times_of_every_year_can_be_compared_with(filled: Store) -> None:
    everything = set(NUMBERS)
    for time, is_after in (
        ("0001-01-01", True),
        ("0999-12-31T23:59:59Z", True),
        ("9999-12-31T23:59:59.999999Z", False),
        ("2999-01-01T00:00:00+05:00", False),
    ):
        assert found(filled, ("created_at", "$gte", time)) == (everything if is_after else set()), time
        assert found(filled, ("created_at", "$lte", time)) == (set() if is_after else everything), time
        assert found(filled, ("created_at", "$eq", time)) == set()


WORDS = ["10", "9", "A", "Z", "a", "a b", "a-b", "ab", "b", "Ä", "ß", "é", "ａ", "\uffff", "\U0001f600"]
"""In the order of their code points."""


@pytest.mark.parametrize("field", ["filename", "metadata.word"])
def test_texts_are_compared_by_code_points(store: Store, field: str) -> None:
    for word in WORDS:
        submit(store, word, metadata={"word": word})
    for place, word in enumerate(WORDS):
        assert found(store, (field, "$gte", word)) == set(WORDS[place:]), word
        assert found(store, (field, "$lte", word)) == set(WORDS[: place + 1]), word
