"""What the models share: bases, JSON values that can be stored and sent, lists, and problems."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Annotated, Any, ClassVar, Generic, TypeVar

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator

MAX_METADATA_BYTES = 64 * 1024
MAX_JSON_DEPTH = 16

SIGNED_NOTE = "Relative to the server; with accounts signed, and valid for `DOCATLAS_SIGNED_URL_S` seconds"

EXAMPLE_DOCUMENT_ID = "019aa5d2-6f1e-7c3a-9d55-0c1f0f6b7e21"
EXAMPLE_JOB_ID = "019aa5d2-6f24-7a10-8e4b-5b2a9c3d1f02"
EXAMPLE_CHUNK_ID = "019aa5d2-9b77-7e41-a2c8-4f6d1e2b3a90"
EXAMPLE_IMAGE_ID = "019aa5d2-9a02-7d13-b0e7-7c8f9a1b2c3d"
EXAMPLE_REFRESH_TOKEN = "drt_Vh0Yt3bS8mXoQ2n5JrKcL7wPzEaUgDfIiOq1R4s6TkY"
EXAMPLE_TIME = "2026-11-21T08:30:00.000000Z"
EXAMPLE_SHA256 = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"


class Answer(BaseModel):
    """Something that the server says."""

    model_config = ConfigDict(frozen=True)


class Asked(BaseModel):
    """Something that a client says: unknown fields are refused, and null means that a field is absent."""

    model_config = ConfigDict(frozen=True, extra="forbid", str_strip_whitespace=False)

    nullable: ClassVar[frozenset[str]] = frozenset()
    """Fields in which null has a meaning of its own."""

    @model_validator(mode="before")
    @classmethod
    def _without_nulls(cls, data: Any) -> Any:
        if not isinstance(data, dict):
            return data
        return {name: value for name, value in data.items() if value is not None or name in cls.nullable}


def _storable(value: dict[str, Any]) -> dict[str, Any]:
    if _depth(value) > MAX_JSON_DEPTH:
        raise ValueError(f"must not be nested deeper than {MAX_JSON_DEPTH} levels")
    try:
        size = len(json.dumps(value, allow_nan=False, ensure_ascii=False).encode("utf-8"))
    except UnicodeEncodeError as error:
        raise ValueError("holds half of a surrogate pair, which is no text") from error
    except ValueError as error:
        raise ValueError("holds a number that JSON does not have") from error
    if _holds_nul(value):
        raise ValueError("holds a NUL character (U+0000), which is no text")
    if size > MAX_METADATA_BYTES:
        raise ValueError(f"must take at most {MAX_METADATA_BYTES:,} bytes as JSON")
    return value


def _depth(value: Any) -> int:
    """Levels of nesting; not recursive, so that a deep value cannot exhaust the stack."""
    deepest, level = 0, [value]
    while level and deepest <= MAX_JSON_DEPTH:
        nested = [item for item in level if isinstance(item, (dict, list))]
        deepest += bool(nested)
        level = [inner for item in nested for inner in (item.values() if isinstance(item, dict) else item)]
        if not nested:
            break
    return deepest


def _holds_nul(value: Any) -> bool:
    if isinstance(value, dict):
        return any("\0" in name or _holds_nul(item) for name, item in value.items())
    if isinstance(value, list):
        return any(_holds_nul(item) for item in value)
    return isinstance(value, str) and "\0" in value


def _without_nul(value: str) -> str:
    if "\0" in value:
        raise ValueError("holds a NUL character (U+0000), which is no text")
    return value


def _is_number(value: Any) -> Any:
    if isinstance(value, (bool, str)):
        raise ValueError("must be a number")
    return value


Whole = Annotated[int, BeforeValidator(_is_number)]
"""An integer of a JSON body: 2.0 is one, "2" and true are not."""
Fraction = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False), BeforeValidator(_is_number)]
"""A number of a JSON body from 0 to 1: "0.5" and true are none."""
PlainText = Annotated[str, AfterValidator(_without_nul)]
"""Text without NUL, which databases and C programs take for its end."""
JsonObject = Annotated[dict[str, Any], AfterValidator(_storable)]
"""A JSON object of at most 64 kB and 16 levels."""

BoxModel = Annotated[
    list[float],
    Field(
        min_length=4,
        max_length=4,
        description="[x0, y0, x1, y1] in points (1/72 inch), origin at the top left of the page as it is shown",
    ),
]


class FieldProblem(Answer):
    """One thing that is wrong with the input."""

    pointer: str = Field(description="RFC 6901 JSON pointer into the request")
    message: str = Field(description="What is wrong with this value")


class ProblemModel(Answer):
    """An error (RFC 9457): the same members in an HTTP answer and in a failed job."""

    model_config = ConfigDict(
        extra="allow",
        json_schema_extra={
            "example": {
                "type": "urn:docatlas:problem:not-found",
                "title": "Not found",
                "status": 404,
                "detail": "There is no document '019aa5d2'. `GET /v1/documents` or `docatlas documents list` shows "
                "those there are.",
                "instance": "/v1/documents/019aa5d2",
                "code": "document_not_found",
                "request_id": "019aa5d2-8d0f-7b32-9f11-6a5b4c3d2e1f",
                "retryable": False,
                "errors": [],
            }
        },
    )

    type: str = Field(description="A URN that names the kind of error, such as `urn:docatlas:problem:not-found`")
    title: str = Field(description="The kind of error in words; the same for every error of this type")
    status: int = Field(description="The HTTP status; in a job, the status that an HTTP answer would have")
    detail: str = Field(description="What happened and what to do next")
    instance: str | None = Field(None, description="Path of the request or of the job")
    code: str = Field(description="Stable word for programs")
    request_id: str | None = Field(
        None, description="The request's `X-Request-Id`; it is also in the server's log. Null in a job"
    )
    retryable: bool = Field(description="True when the same request may succeed later without a change")
    errors: list[FieldProblem] = Field(
        default_factory=list, description="Each value of the request that is wrong; empty for other errors"
    )


class IssueModel(Answer):
    """Something that went wrong with a part and did not cost the rest."""

    code: str = Field(description="Stable word for programs; see docs/formats.md")
    message: str = Field(description="What happened, in words")
    page: int | None = Field(None, description="Page number from 1; null for the whole document")


_is_partial: ContextVar[Callable[[], bool]] = ContextVar("is_partial", default=lambda: False)


@contextmanager
def partial_answers(is_partial: Callable[[], bool]) -> Iterator[None]:
    """Inside, an answer is `partial` where `is_partial` says so when it is made.

    For the middleware.
    """
    token = _is_partial.set(is_partial)
    try:
        yield
    finally:
        _is_partial.reset(token)


def partial_field(description: str) -> Any:
    """The member `partial` of an answer, which nobody sets but `partial_answers`."""
    return Field(
        default_factory=lambda: _is_partial.get()(), description=description, json_schema_extra={"default": False}
    )


T = TypeVar("T")


class ListModel(Answer, Generic[T]):
    """One page of a list; pass `next_cursor` as `cursor` for the next one."""

    data: list[T] = Field(description="The items of this page of the list")
    has_more: bool = Field(False, description="True when there is another page")
    next_cursor: str | None = Field(None, description="Pass it as `cursor` for the next page; null on the last one")
    partial: bool = partial_field("The database was out of reach: there may be more than what this node could tell")


def page_of(items: list[T], next_cursor: str | None) -> dict[str, Any]:
    """The members of a ListModel."""
    return {"data": items, "has_more": next_cursor is not None, "next_cursor": next_cursor}
