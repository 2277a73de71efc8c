"""Every error code of the server, and which calls answer which.

The OpenAPI document and, through it, docs/api.md and /docs are made of it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from api.http.addresses import is_signed
from api.http.authentication import required_scope
from api.http.errors import ERROR_TABLE, HTTP_CODES, type_uri


@dataclass(frozen=True, slots=True)
class ErrorCode:
    """An error as clients see it."""

    kind: str | int
    """The class in services.errors that raises it, or the status where HTTP itself has one for it."""
    code: str
    meaning: str
    """What happened and what to do, for whoever writes a client."""

    @property
    def status(self) -> int:
        """The HTTP status."""
        return self.kind if isinstance(self.kind, int) else ERROR_TABLE[self.kind].status

    @property
    def title(self) -> str:
        """The problem's `title`."""
        return HTTPStatus(self.kind).phrase if isinstance(self.kind, int) else ERROR_TABLE[self.kind].title

    @property
    def type(self) -> str:
        """The problem's `type`."""
        return type_uri(HTTP_CODES[self.kind][1] if isinstance(self.kind, int) else ERROR_TABLE[self.kind].slug)

    @property
    def is_retryable(self) -> bool:
        """The problem's `retryable`."""
        return self.kind in (408, "RateLimited", "TransientError")


_CODES: Sequence[ErrorCode] = (
    ErrorCode(400, "malformed_request", "The body is not valid JSON or multipart, or not UTF-8."),
    ErrorCode("Unauthenticated", "unauthenticated", "No token or API key was sent. Log in first."),
    ErrorCode("Unauthenticated", "invalid_token", "The token cannot be used, or two credentials were sent."),
    ErrorCode("Unauthenticated", "token_expired", "The access token has expired. Use the refresh token."),
    ErrorCode("Unauthenticated", "invalid_signature", "The signature does not fit the address. Use it unchanged."),
    ErrorCode("Unauthenticated", "signature_expired", "The signed address has expired. Ask for a new one."),
    ErrorCode("Unauthenticated", "invalid_api_key", "There is no such API key, or it was revoked."),
    ErrorCode("Unauthenticated", "api_key_expired", "The API key has expired. Make a new one."),
    ErrorCode("Unauthenticated", "account_disabled", "The operator has disabled the account."),
    ErrorCode("Unauthenticated", "account_deleted", "The account was deleted."),
    ErrorCode("Unauthenticated", "invalid_credentials", "The e-mail address or the password is wrong."),
    ErrorCode("Unauthenticated", "invalid_refresh_token", "The refresh token is unknown, or its session has ended."),
    ErrorCode("Unauthenticated", "refresh_token_reused", "The refresh token was used before; the session was ended."),
    ErrorCode("Forbidden", "host_not_allowed", "The `Host` header names another server."),
    ErrorCode("Forbidden", "origin_not_allowed", "The web page at this `Origin` may not use the server."),
    ErrorCode("Forbidden", "scope_missing", "The API key lacks the scope that the call needs."),
    ErrorCode("Forbidden", "session_required", "The call needs a login; an API key has no session."),
    ErrorCode("Forbidden", "registration_closed", "Nobody can register here. The operator makes accounts."),
    ErrorCode("Forbidden", "account_disabled", "The operator has disabled the account."),
    ErrorCode("Forbidden", "email_not_confirmed", "The link in Supabase's mail has to be opened first."),
    ErrorCode("Forbidden", "expiry_too_late", "A key cannot outlive the key that makes it."),
    ErrorCode(404, "route_not_found", "There is no such path."),
    ErrorCode("NotFound", "document_not_found", "No document of yours has this id."),
    ErrorCode("NotFound", "page_not_found", "The document has no such page, or it was not read."),
    ErrorCode("NotFound", "no_page_image", "The format has no page layout to show. Read the page's text instead."),
    ErrorCode("NotFound", "image_not_found", "No picture of yours has this id."),
    ErrorCode("NotFound", "job_not_found", "No job of yours has this id."),
    ErrorCode("NotFound", "api_key_not_found", "No API key of yours has this id."),
    ErrorCode("NotFound", "file_missing", "The stored file is gone. Upload the document again."),
    ErrorCode(405, "method_not_allowed", "The path has other methods; `Allow` names them."),
    ErrorCode(408, "request_timeout", "The headers or the body came too slowly. Send the request again."),
    ErrorCode(
        "Conflict", "not_ready", "The document has no content yet, or its job failed. Wait for or retry the job."
    ),
    ErrorCode("Conflict", "job_ended", "The job has ended and cannot be cancelled."),
    ErrorCode("Conflict", "job_not_ended", "Only a failed or cancelled job can be retried."),
    ErrorCode("Conflict", "job_superseded", "A later job has taken this one's place. Retry that one."),
    ErrorCode("Conflict", "accounts_off", "The server runs without accounts."),
    ErrorCode("Conflict", "email_taken", "Somebody has registered with this address."),
    ErrorCode("Conflict", "no_password", "The account logs in at Supabase without a password."),
    ErrorCode("Conflict", "too_many_keys", "The user has as many API keys as allowed. Revoke one."),
    ErrorCode(413, "body_too_large", "The JSON body is larger than allowed; `limit` says how much that is."),
    ErrorCode("TooLarge", "file_too_large", "The file is larger than `DOCATLAS_MAX_UPLOAD_BYTES`."),
    ErrorCode("TooLarge", "field_too_large", "`options` or `metadata` is larger than 1 MiB."),
    ErrorCode("TooLarge", "too_many_files", "More files than `DOCATLAS_MAX_FILES_PER_REQUEST`. Send several requests."),
    ErrorCode("TooLarge", "job_timeout", "Only in a job: it ran for too many hours and was stopped."),
    ErrorCode(415, "unsupported_media_type", "The `Content-Type` header is not what the call takes."),
    ErrorCode("UnsupportedFormat", "unsupported_format", "The content is of no format that is read."),
    ErrorCode(416, "range_not_satisfiable", "`Range` lies outside the file."),
    ErrorCode("InvalidOption", "invalid_request", "A value is missing, unknown or out of range; see `errors`."),
    ErrorCode("InvalidOption", "invalid_option", "A value of `options`, or `mode`, cannot be used; see `errors`."),
    ErrorCode(
        "InvalidOption", "invalid_filter", "A filter names no field or operator, or a wrong value; see `errors`."
    ),
    ErrorCode("InvalidOption", "invalid_cursor", "`cursor` is not a `next_cursor` of this list."),
    ErrorCode("InvalidOption", "weak_password", "The password is too short, too long, or too easy to guess."),
    ErrorCode("InvalidOption", "message_too_long", "`message` does not fit into `token_budget`."),
    ErrorCode("UnreadableDocument", "empty_file", "The file has no bytes."),
    ErrorCode("UnreadableDocument", "content_mismatch", "The name is that of a binary format and the content is not."),
    ErrorCode("UnreadableDocument", "corrupt_document", "The document is damaged."),
    ErrorCode("UnreadableDocument", "corrupt_archive", "The zip file is damaged or cut off."),
    ErrorCode("UnreadableDocument", "picture_corrupt", "The picture cannot be decoded."),
    ErrorCode("UnreadableDocument", "page_unreadable", "The page cannot be shown as a picture."),
    ErrorCode("QuotaExceeded", "quota_documents", "The user keeps as many documents as allowed. Delete some."),
    ErrorCode("QuotaExceeded", "quota_bytes", "The user's files take as many bytes as allowed. Delete some."),
    ErrorCode("RateLimited", "rate_limited", "Too many requests in a minute. Wait for `Retry-After` seconds."),
    ErrorCode(
        "RateLimited", "too_many_attempts", "Too many wrong passwords or tokens. Wait for `Retry-After` seconds."
    ),
    ErrorCode(
        "RateLimited", "too_many_connections", "Of any call: your address has too many connections open. Close some."
    ),
    ErrorCode(431, "headers_too_large", "Of any call: its line and headers are too long, or too many."),
    ErrorCode("InternalError", "internal_error", "An error of the server. The operator finds `request_id` in the log."),
    ErrorCode("InternalError", "file_damaged", "The stored file is damaged. Delete the document and upload it again."),
    ErrorCode("InternalError", "worker_lost", "Only in a job: its process died again and again."),
    ErrorCode("TransientError", "temporarily_unavailable", "The server cannot do it at the moment. Try again."),
    ErrorCode("TransientError", "too_many_connections", "Of any call: the server has as many connections as allowed."),
    ErrorCode("TransientError", "body_memory_full", "Other requests' bodies take all the room. Try again."),
    ErrorCode("TransientError", "database_unavailable", "The database does not answer. Try again."),
    ErrorCode("TransientError", "store_busy", "The database is busy or cannot be written. Try again."),
    ErrorCode(
        "TransientError", "primary_unavailable", "Postgres is out of reach, and this node lacks what was asked for."
    ),
    ErrorCode("TransientError", "files_unavailable", "The stored files cannot be reached. Try again."),
    ErrorCode(
        "TransientError", "file_missing", "The node that took the upload has not stored its file yet. Try again."
    ),
    ErrorCode("TransientError", "storage_full", "The disk is full. The operator has to free space."),
    ErrorCode("TransientError", "auth_unavailable", "Supabase's auth does not answer. Try again."),
    ErrorCode("TransientError", "model_unavailable", "The model weights cannot be fetched at the moment."),
    ErrorCode("TransientError", "migrations_pending", "The database lacks migrations. Run `docatlas db upgrade`."),
    ErrorCode("TransientError", "starting", "The text model is still being loaded."),
    ErrorCode("TransientError", "unhealthy", "The service cannot work; `checks` says why."),
    ErrorCode("CapabilityMissing", "model_missing", "The text model is not installed. Run `docatlas models pull`."),
    ErrorCode(
        "CapabilityMissing", "model_damaged", "The text model's files are damaged. Run `docatlas models verify`."
    ),
    ErrorCode(
        "CapabilityMissing", "image_model_missing", "The picture model is not installed: `docatlas models pull`."
    ),
    ErrorCode("CapabilityMissing", "clip_unusable", "The checkpoint in `DOCATLAS_CLIP_DIR` cannot be loaded."),
    ErrorCode("CapabilityMissing", "clip_too_wide", "The picture model has more than 768 dimensions."),
    ErrorCode("CapabilityMissing", "ocr_language_missing", "A language of `options.ocr_languages` is not installed."),
    ErrorCode("CapabilityMissing", "libreoffice_missing", "Only LibreOffice reads this file, and it is not installed."),
)

ERROR_CODES: Mapping[str, ErrorCode] = {f"{one.status} {one.code}": one for one in _CODES}
"""By status and code, as in `404 document_not_found`: some codes have two statuses."""

REFUSALS_NOTE = "or a refusal listed in docs/formats.md"
"""Beside a status of a call that opens a file: what formats refuse is in docs/formats.md."""

_UPLOAD = (
    "413 file_too_large", "413 field_too_large", "415 unsupported_format", "422 empty_file",
    "422 content_mismatch", "422 corrupt_document", "422 corrupt_archive", "503 storage_full", "503 files_unavailable",
    "503 temporarily_unavailable",
)  # fmt: skip
_OPTIONS = ("422 invalid_option", "503 ocr_language_missing")
_QUOTA = ("429 quota_documents", "429 quota_bytes")
_FILE = ("404 file_missing", "500 file_damaged", "503 files_unavailable", "503 file_missing")
_TEXT_MODEL = ("503 model_missing", "503 model_damaged", "503 model_unavailable")
_PICTURE_MODEL = ("503 image_model_missing", "503 clip_unusable", "503 clip_too_wide")
_PAGE_PICTURE = ("422 page_unreadable", "422 picture_corrupt")
_LOGIN = ("401 invalid_credentials", "403 account_disabled", "429 too_many_attempts", "503 auth_unavailable")
_ACCOUNTS_OFF = ("409 accounts_off",)

OF_CALLS: Mapping[str, Sequence[str]] = {
    "upload_documents": (*_UPLOAD, "413 too_many_files", *_OPTIONS, *_QUOTA, "503 libreoffice_missing"),
    "process": (*_UPLOAD, *_OPTIONS, *_QUOTA, "503 libreoffice_missing"),
    "process_with_embeddings": (*_UPLOAD, *_OPTIONS, *_QUOTA, "503 libreoffice_missing"),
    "list_documents": ("422 invalid_filter",),
    "reprocess_document": _OPTIONS,
    "get_file": (*_FILE, "416 range_not_satisfiable"),
    "get_content": ("409 not_ready",),
    "get_page": ("404 page_not_found",),
    "get_page_image": ("404 page_not_found", "404 no_page_image", *_FILE, *_PAGE_PICTURE),
    "get_thumbnail": (*_FILE, *_PAGE_PICTURE),
    "get_image_content": (*_FILE, "416 range_not_satisfiable"),
    "cancel_job": ("409 job_ended",),
    "retry_job": ("409 job_not_ended", "409 job_superseded"),
    "search_documents": (
        "404 image_not_found", "422 invalid_option", "422 invalid_filter", *_TEXT_MODEL, *_PICTURE_MODEL,
    ),
    "search_by_picture": (
        "413 file_too_large", "413 field_too_large", "422 picture_corrupt", "422 invalid_option",
        "503 storage_full", *_PICTURE_MODEL,
    ),
    "prepare_context": ("422 invalid_filter", "422 message_too_long", *_TEXT_MODEL),
    "prepare_chat_context": ("422 invalid_filter", "422 message_too_long", *_TEXT_MODEL),
    "register": (
        "403 registration_closed", "409 email_taken", "422 weak_password",
        "429 too_many_attempts", "503 auth_unavailable", *_ACCOUNTS_OFF,
    ),
    "login": (*_LOGIN, "403 email_not_confirmed", *_ACCOUNTS_OFF),
    "legacy_login": (*_LOGIN, "403 email_not_confirmed", *_ACCOUNTS_OFF),
    "refresh": (
        "401 invalid_refresh_token", "401 refresh_token_reused", "401 account_deleted", "403 account_disabled",
        "429 too_many_attempts", "503 auth_unavailable", *_ACCOUNTS_OFF,
    ),
    "logout": ("403 session_required", "503 auth_unavailable", *_ACCOUNTS_OFF),
    "change_password": ("403 session_required", *_LOGIN, "409 no_password", "422 weak_password", *_ACCOUNTS_OFF),
    "create_api_key": ("403 expiry_too_late", "409 too_many_keys", *_ACCOUNTS_OFF),
    "revoke_api_key": _ACCOUNTS_OFF,
    "readyz": ("503 migrations_pending", "503 starting"),
    "get_health": ("503 unhealthy",),
}  # fmt: skip
"""What a call may answer beside the codes that `codes_of` finds by its path, its parameters and its body."""

OPENS_FILES = frozenset({"upload_documents", "process", "process_with_embeddings", "get_page_image", "get_thumbnail"})
"""Calls that look into a file before they answer, and may refuse it as its job would."""

_ACCESS = ("403 host_not_allowed", "403 origin_not_allowed")
_FAILURES = ("500 internal_error", "503 database_unavailable", "503 store_busy")
_CREDENTIALS = (
    "401 unauthenticated", "401 invalid_token", "401 token_expired", "401 invalid_api_key", "401 api_key_expired",
    "401 account_disabled", "401 account_deleted", "403 scope_missing", "429 rate_limited", "503 auth_unavailable",
)  # fmt: skip
_OBJECTS = {
    "document_id": "404 document_not_found",
    "image_id": "404 image_not_found",
    "job_id": "404 job_not_found",
    "key_id": "404 api_key_not_found",
}


def codes_of(method: str, path: str, operation: Mapping[str, Any]) -> list[str]:
    """The error codes that `operation` may answer with by status, likeliest first.

    `operation` is of the OpenAPI document, the codes are keys of ERROR_CODES.
    """
    if path == "/livez":
        return list(_ACCESS)
    parameters = {parameter["name"]: parameter for parameter in operation.get("parameters", [])}
    body = operation.get("requestBody", {}).get("content", {})
    found = list(OF_CALLS.get(operation["operationId"], ()))
    objects = [_OBJECTS[name] for name in parameters if name in _OBJECTS and parameters[name]["in"] == "path"]
    found = [*objects, *found]
    if objects and objects[0] != "404 api_key_not_found":
        found.append("503 primary_unavailable")
    if body:
        found += ["400 malformed_request", "408 request_timeout", "415 unsupported_media_type", "422 invalid_request"]
        found.append("503 body_memory_full")
    if "application/json" in body:
        found.append("413 body_too_large")
    if any(name not in _OBJECTS and parameter["in"] != "header" for name, parameter in parameters.items()):
        found.append("422 invalid_request")
    if "cursor" in parameters:
        found.append("422 invalid_cursor")
    found += [*_ACCESS, *_FAILURES]
    if required_scope(method.upper(), path) is not None:
        found += _CREDENTIALS
        if method == "get" and is_signed(path):
            found += ("401 invalid_signature", "401 signature_expired")
    return sorted(dict.fromkeys(found), key=lambda key: key[:3])
