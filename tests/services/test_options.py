"""Options of an ingest: what is taken, what is refused, and how the refusal names the field."""

from __future__ import annotations

from typing import Any

import pytest

from services.errors import InvalidOption, Problem, TooLarge, error_classes, error_from
from services.options import Options, parse_options


def test_nothing_given_means_the_defaults() -> None:
    assert parse_options(None) == Options()
    assert parse_options({"chunk_size": None, "pages": None}) == Options()


def test_given_options_are_laid_over_the_defaults() -> None:
    options = parse_options({"chunk_size": 500, "ocr": "force"}, defaults=Options(chunk_overlap=50))
    assert (options.chunk_size, options.chunk_overlap, options.ocr) == (500, 50, "force")


def test_options_survive_being_stored_as_json() -> None:
    options = parse_options({"ocr_languages": ["eng", "deu"], "pages": "1-3, 7"})
    assert parse_options(options.as_json()) == options
    assert parse_options(Options().as_json()) == Options()


def test_a_password_is_no_part_of_the_options() -> None:
    assert "secret" not in str(parse_options({"password": "secret"}).as_json())


@pytest.mark.parametrize(
    ("given", "pointer"),
    [
        ({"chunk_size": 1}, "/options/chunk_size"),
        ({"chunk_size": True}, "/options/chunk_size"),
        ({"chunk_size": "1000"}, "/options/chunk_size"),
        ({"chunk_overlap": -1}, "/options/chunk_overlap"),
        ({"chunk_size": 200, "chunk_overlap": 200}, "/options/chunk_overlap"),
        ({"ocr": "sometimes"}, "/options/ocr"),
        ({"ocr_languages": []}, "/options/ocr_languages"),
        ({"ocr_languages": ["../eng"]}, "/options/ocr_languages"),
        ({"extract_images": 1}, "/options/extract_images"),
        ({"pages": "one"}, "/options/pages"),
        ({"pages": "1-2-3"}, "/options/pages"),
        ({"pasword": "x"}, "/options/pasword"),
        ({"password": 5}, "/options/password"),
    ],
)
def test_a_wrong_option_is_named(given: dict[str, Any], pointer: str) -> None:
    with pytest.raises(InvalidOption) as caught:
        parse_options(given)
    assert [error.pointer for error in caught.value.errors] == [pointer]


def test_every_wrong_option_is_named_at_once() -> None:
    with pytest.raises(InvalidOption) as caught:
        parse_options({"ocr": "x", "pages": "x"})
    assert len(caught.value.errors) == 2


@pytest.mark.parametrize(
    ("pages", "wanted"), [("", {1, 2, 3, 7, 9}), ("1-3,7", {1, 2, 3, 7}), ("7-", {7, 9}), ("2", {2})]
)
def test_page_ranges_choose_pages(pages: str, wanted: set[int]) -> None:
    options = parse_options({"pages": pages} if pages else {})
    assert {n for n in (1, 2, 3, 7, 9) if options.wants_page(n)} == wanted


def test_a_problem_becomes_the_error_that_it_was() -> None:
    error = error_from(TooLarge("Too many pages.", code="too_many_pages").problem)
    assert type(error) is TooLarge
    assert (error.code, error.detail) == ("too_many_pages", "Too many pages.")
    assert error_from(Problem("Unheard", "x", "y")).code == "x"


def test_only_what_passes_by_itself_is_retryable() -> None:
    assert {name for name, cls in error_classes().items() if cls.retryable} == {"TransientError", "RateLimited"}


def test_pointers_are_below_the_place_of_the_options_and_escaped() -> None:
    with pytest.raises(InvalidOption) as found:
        parse_options({"a/b~": 1}, at="")
    assert found.value.errors[0].pointer == "/a~1b~0"


def test_request_may_not_switch_vectors_off() -> None:
    assert parse_options({"embed": False}).embed is False
    with pytest.raises(InvalidOption):
        parse_options({"embed": False}, is_request=True)


@pytest.mark.parametrize("pages", ["0", "0-3", "3-1", "1,5-4", "1-0"])
def test_pages_that_cannot_be_are_refused(pages: str) -> None:
    with pytest.raises(InvalidOption) as found:
        parse_options({"pages": pages})
    assert found.value.errors[0].pointer == "/options/pages"
