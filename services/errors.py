"""Every error of the product, as one tree; knows nothing of HTTP.

DocatlasError
├── InputError                 the caller can mend it
│   ├── UnsupportedFormat      the content is of no format that is read
│   ├── TooLarge               a limit on bytes, pixels, pages or entries was passed
│   ├── UnreadableDocument     corrupt, truncated, or it broke the parser
│   ├── EncryptedDocument      a password is missing or wrong
│   └── InvalidOption          a parameter is malformed or out of range
├── Unauthenticated
├── Forbidden
├── NotFound                   absent, or somebody else's
├── Conflict                   the object's state does not allow it
├── QuotaExceeded              more than one user may keep
│   └── RateLimited            too often; passes by itself
├── CapabilityMissing          the operator must install or configure something
├── TransientError             may pass by itself; the only one that is retried
└── InternalError              a defect of ours; its detail never carries an exception's text
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar


@dataclass(frozen=True, slots=True)
class FieldError:
    """One thing that is wrong with the input.

    `pointer` is an RFC 6901 JSON pointer into the request.
    """

    pointer: str
    message: str


@dataclass(frozen=True, slots=True)
class Problem:
    """An error as a job, an HTTP answer and a webhook carry it.

    All three carry the same facts in the same words.
    """

    kind: str
    """Name of the error's class, the key of the HTTP table."""
    code: str
    """Stable snake_case word for programs."""
    detail: str
    """What happened and what to do next."""
    retryable: bool = False

    def as_json(self) -> dict[str, Any]:
        return {"kind": self.kind, "code": self.code, "detail": self.detail, "retryable": self.retryable}


class DocatlasError(Exception):
    """The root. `detail` says what happened and what to do next; `code` is stable."""

    default_code: ClassVar[str] = "internal_error"
    retryable: ClassVar[bool] = False

    def __init__(
        self,
        detail: str,
        *,
        code: str | None = None,
        errors: tuple[FieldError, ...] = (),
        facts: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(detail)
        self.detail = detail
        self.code = code or self.default_code
        self.errors = errors
        self.facts: Mapping[str, Any] = facts or {}

    @property
    def problem(self) -> Problem:
        return Problem(type(self).__name__, self.code, self.detail, self.retryable)


class InputError(DocatlasError):
    default_code = "invalid_input"


class UnsupportedFormat(InputError):
    default_code = "unsupported_format"


class TooLarge(InputError):
    default_code = "too_large"


class UnreadableDocument(InputError):
    default_code = "unreadable_document"


class EncryptedDocument(InputError):
    default_code = "password_required"


class InvalidOption(InputError):
    default_code = "invalid_option"


class Unauthenticated(DocatlasError):
    default_code = "unauthenticated"


class Forbidden(DocatlasError):
    default_code = "forbidden"


class NotFound(DocatlasError):
    default_code = "not_found"


class Conflict(DocatlasError):
    default_code = "conflict"


class QuotaExceeded(DocatlasError):
    default_code = "quota_exceeded"


class CapabilityMissing(DocatlasError):
    default_code = "capability_missing"


@dataclass(frozen=True, slots=True)
class Retry:
    """When to come back, in seconds."""

    after_s: float = 5.0


class RateLimited(QuotaExceeded):
    default_code = "rate_limited"
    retryable = True

    def __init__(self, detail: str, *, code: str | None = None, retry: Retry = Retry()) -> None:
        super().__init__(detail, code=code)
        self.retry = retry


class TransientError(DocatlasError):
    default_code = "temporarily_unavailable"
    retryable = True

    def __init__(self, detail: str, *, code: str | None = None, retry: Retry = Retry()) -> None:
        super().__init__(detail, code=code)
        self.retry = retry


class InternalError(DocatlasError):
    default_code = "internal_error"


def error_classes() -> dict[str, type[DocatlasError]]:
    """Every class of the tree by name, the root included."""
    found: dict[str, type[DocatlasError]] = {}
    todo: list[type[DocatlasError]] = [DocatlasError]
    while todo:
        cls = todo.pop()
        found[cls.__name__] = cls
        todo.extend(cls.__subclasses__())
    return found


def error_from(problem: Problem) -> DocatlasError:
    """The error that `problem` was made of; an unknown kind becomes InternalError."""
    cls = error_classes().get(problem.kind, InternalError)
    return cls(problem.detail, code=problem.code)
