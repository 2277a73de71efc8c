"""Writes docs/api.md from the OpenAPI document: `python -m docs.build_api`, from the project's root."""

from __future__ import annotations

import json
import re
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

PAGE = Path(__file__).with_name("api.md")

_WIDTH = 110
_REFUSALS = "what [formats.md](formats.md#refusals) lists as refusals"
_ELSEWHERE = {"OptionsModel": "Upload options", "ProblemModel": "Errors", "FieldProblem": "Errors"}
"""Objects that have their table in the introduction, and under which heading."""

Schema = Mapping[str, Any]

TAGS: Mapping[str, str] = {
    "documents": "Upload documents, list them, change them, delete them, read them again.",
    "contents": "What was read: the original, the text, pages, chunks.",
    "images": "Pictures that were cut out of documents.",
    "jobs": "Background work: each upload starts a job.",
    "search": "Search by words, by meaning and by picture.",
    "context": "A prompt with numbered sources, for any chat model.",
    "accounts": "Log in, and make API keys. On a server without accounts, most answer 409 `accounts_off`.",
    "service": "Is the server alive, ready, healthy, and what can it do?",
    "original design": "Calls of the original design, kept for its clients.",
}
"""The sections of the page, in order. A call belongs to the last of its tags."""

VARIABLES = """\
field() { python3 -c "import json, sys; print(json.load(sys.stdin)$1)"; }
DOCUMENT=$(curl -sS http://127.0.0.1:8000/v1/documents -F files=@contract.pdf | field '["data"][0]["document"]["id"]')
JOB=$(curl -sS "http://127.0.0.1:8000/v1/jobs?document_id=$DOCUMENT" | field '["data"][0]["id"]')
curl -sS "http://127.0.0.1:8000/v1/jobs/$JOB?wait=60" | field '["status"]'
IMAGE=$(curl -sS "http://127.0.0.1:8000/v1/documents/$DOCUMENT/images" | field '["data"][0]["id"]')
"""
"""Commands that set what the examples use. A test runs them."""

SESSION = """\
field() { python3 -c "import json, sys; print(json.load(sys.stdin)$1)"; }
SESSION=$(curl -sS http://127.0.0.1:8000/v1/auth/login -H 'Content-Type: application/json' \\
  -d '{"email": "ada@example.org", "password": "correct horse battery staple"}')
ACCESS_TOKEN=$(printf %s "$SESSION" | field '["access_token"]')
REFRESH_TOKEN=$(printf %s "$SESSION" | field '["refresh_token"]')
MADE=$(curl -sS http://127.0.0.1:8000/v1/api-keys -H "Authorization: Bearer $ACCESS_TOKEN" \\
  -H 'Content-Type: application/json' -d '{"name": "example", "scopes": ["read"]}')
KEY_ID=$(printf %s "$MADE" | field '["id"]')
KEY=$(printf %s "$MADE" | field '["secret"]')
"""
"""Commands that set what the examples of accounts use."""

_INTRODUCTION = """\
# HTTP API reference

Every call, field, limit and error of the server. This page is written by `python -m docs.build_api` from the server's
OpenAPI document. A test compares it with that document and runs every example. The server shows the same at `/docs`,
and gives the document to tools at `/openapi.json`.

- [Conventions](#conventions): [credentials](#credentials), [lists and paging](#lists-and-paging), [filters](#filters),
  [upload options](#upload-options), [headers](#headers), [errors](#errors)
- [Calls](#calls)
- [Objects](#objects)
- [Error codes](#error-codes)

## Conventions

- The examples talk to `http://127.0.0.1:8000`, where `./docatlas serve` listens.
- Ids are UUIDs. Times are RFC 3339 in UTC. Pages count from 1.
- A **box** is `[x0, y0, x1, y1]` in points (1/72 inch), from the top left of the page as it is shown.
- **Offsets** count Unicode code points from 0; the end is not included. Those of chunks and hits slice
  `GET /v1/documents/{document_id}/content?format=text`.
- A JSON body needs `Content-Type: application/json`, and may have 8 MiB (64 KiB below `/v1/auth`). Unknown fields are
  refused (422). `null` means that a field is left out.
- Every path that has a GET has a HEAD.

The examples use variables for ids. Set them like this, with a PDF of your own that holds a picture:

```sh
@VARIABLES@```

### Credentials

Without accounts (the default) no credentials are needed, and the server listens on loopback only. With accounts,
add one of these headers to every call; `/livez`, `/readyz`, `/docs`, `/openapi.json`, register, login and refresh
need none.

```sh
-H "Authorization: Bearer $ACCESS_TOKEN"     # of POST /v1/auth/login, or an API key
-H "X-API-Key: $KEY"                         # an API key
```

A call names the **scope** that an API key needs for it: `read`, `write` or `admin`. See [accounts.md](accounts.md).
These commands set the variables of the examples of accounts:

```sh
@SESSION@```

### Lists and paging

A call that lists things takes `limit` and `cursor`, and answers with one page of the list:

@PAGING@

Ask again with `cursor` set to `next_cursor`, and the same other parameters, until `has_more` is false.

### Filters

`filters` of [`POST /v1/search`](#post-v1search) and [`POST /v1/context`](#post-v1context) chooses documents:

@FILTERS@

| condition | meaning |
| --- | --- |
| `{"format": "pdf"}` | equal; short for `{"format": {"$eq": "pdf"}}` |
| `{"format": {"$in": ["pdf", "docx"]}}` | one of these |
| `{"metadata.year": {"$gte": 2020}}` | at least |
| `{"created_at": {"$gte": "2026-01-01", "$lte": "2026-06-30"}}` | a range |

`GET /v1/documents` has filters in its query string: `status`, `format`, `created_after`, `q`, `parent_id` and
`metadata.<key>=<value>`.

### Upload options

The field `options` of [`POST /v1/documents`](#post-v1documents), and the body of
[`POST /v1/documents/{document_id}/reprocess`](#post-v1documentsdocument_idreprocess), say how a document is read.
What is left out has the server's default; on reprocessing, the document's own value.

@OPTIONS@

### Headers

| request header | meaning |
| --- | --- |
| `Authorization`, `X-API-Key` | see [credentials](#credentials) |
| `X-Request-Id` | your id of the request: up to 128 letters, digits and `._:-`; it is sent back and logged |
| `If-None-Match` | the `ETag` of a copy that you have: 304 where it is current |
| `Range` | one range of bytes of a file: 206 |

| answer header | meaning |
| --- | --- |
| `X-Request-Id` | the request's id; the operator finds it in the log |
| `Location` | path of the new job or key; on 308, of the document that has taken the id's place |
| `ETag` | changes when the content does |
| `Content-Disposition` | a safe file name of a download |
| `Retry-After` | seconds to wait, on every error whose `retryable` is true; a full quota or a missing model has none |
| `RateLimit`, `RateLimit-Policy` | what is left of the requests of this minute, with accounts |
| `WWW-Authenticate` | on 401, and on 403 `scope_missing` |
| `Allow` | on 405: the methods of the path |
| `X-Docatlas-Store` | `fallback` while Postgres is out of reach; see [fallback.md](fallback.md) |

### Errors

An error is `application/problem+json` ([RFC 9457](https://www.rfc-editor.org/rfc/rfc9457)). A failed job has the same
object in `error`. Programs look at `code`, people read `detail`. [All codes](#error-codes) are at the end of the page.

@PROBLEM@

A wrong path is 404 `route_not_found`, a wrong method 405 `method_not_allowed`. Every call that needs credentials
may answer these; what else a call may answer is listed with it:

| error | code |
| --- | --- |
@COMMON@
"""


def api_page(document: Schema) -> str:
    """The text of docs/api.md for an OpenAPI document."""
    schemas: Schema = document["components"]["schemas"]
    problem = schemas["ProblemModel"]
    fills = {
        "VARIABLES": VARIABLES,
        "SESSION": SESSION,
        "PAGING": "\n".join(_fields(_list_schema(schemas))),
        "FILTERS": "> " + schemas["SearchQuery"]["properties"]["filters"]["description"] + ".",
        "OPTIONS": "\n".join(_fields(schemas["OptionsModel"], with_default=False)),
        "PROBLEM": "\n".join(
            [*_json(problem["example"]), "", *_fields(problem), "", *_fields(schemas["FieldProblem"])]
        ),
    }
    fills["COMMON"] = "\n".join(
        _row(status, ", ".join(f"`{code}`" for code in sorted(codes)))
        for status, codes in common_codes(document).items()
    )
    introduction = re.sub("@([A-Z]+)@", lambda found: fills[found[1]], _INTRODUCTION)
    lines = [introduction, *_calls(document), *_objects(document), *_error_codes(document)]
    return "\n".join(lines).rstrip("\n") + "\n"


def _calls(document: Schema) -> Iterator[str]:
    calls: dict[str, list[tuple[str, str, Schema]]] = {tag: [] for tag in TAGS}
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            calls[operation["tags"][-1]].append((method.upper(), path, operation))
    yield "## Calls\n"
    for tag, found in calls.items():
        yield f"**{_title(tag)}.** {TAGS[tag]}\n"
        yield "| call | what it does |"
        yield "| --- | --- |"
        for method, path, operation in found:
            yield f"| [`{method} {path}`](#{_anchor(f'{method} {path}')}) | {operation['summary']} |"
        yield ""
    for tag, found in calls.items():
        yield f"## {_title(tag)}\n"
        for method, path, operation in found:
            yield from _call(method, path, operation, document)


def _call(method: str, path: str, operation: Schema, document: Schema) -> Iterator[str]:
    yield f"### `{method} {path}`\n"
    yield f"**{operation['summary'].rstrip('?')}.** {operation['description']}\n"
    scope = operation.get("x-required-scope")
    yield f"Scope: `{scope}`.\n" if scope else "No credentials are needed.\n"
    if operation.get("parameters"):
        yield "| parameter | in | type | default | meaning |"
        yield "| --- | --- | --- | --- | --- |"
        for one in operation["parameters"]:
            default = "required" if one.get("required") else _default(one["schema"])
            about = one.get("description") or one["schema"]["description"]
            yield _row(f"`{one['name']}`", one["in"], _type(one["schema"]), default, about)
        yield ""
    body = operation.get("requestBody", {}).get("content", {})
    for kind, media in body.items():
        yield f"Body, `{kind}`:\n"
        yield from _fields(_resolved(media["schema"], document["components"]["schemas"]), with_default=True)
        yield ""
    for sample in operation["x-codeSamples"]:
        yield f"{sample['label']}:\n" if len(operation["x-codeSamples"]) > 1 else "Example:\n"
        yield from ("```sh", sample["source"], "```\n")
    yield from _answers(operation, common_codes(document))


def common_codes(document: Schema) -> Mapping[str, set[str]]:
    """The error codes of each status that every call with credentials may answer."""
    calls = [one for of in document["paths"].values() for one in of.values() if one.get("x-required-scope")]
    found: dict[str, set[str]] = {}
    for status, answer in calls[0]["responses"].items():
        codes = set(answer.get("x-error-codes", ()))
        for one in calls:
            codes &= set(one["responses"].get(status, {}).get("x-error-codes", ()))
        if codes:
            found[status] = codes
    return found


def _answers(operation: Schema, common: Mapping[str, set[str]]) -> Iterator[str]:
    errors = []
    known: Mapping[str, set[str]] = common if operation.get("x-required-scope") else {}
    for status, answer in operation["responses"].items():
        if "x-error-codes" in answer:
            own = [f"`{code}`" for code in answer["x-error-codes"] if code not in known.get(status, ())]
            refusals = [_REFUSALS] if "formats.md" in answer["description"] else []
            errors += [f"| {status} | {', '.join(own + refusals)} |"] if own or refusals else []
            continue
        kinds = answer.get("content", {})
        told = _answer_type(kinds["application/json"]["schema"]) if list(kinds) == ["application/json"] else ""
        told = told or ", ".join(f"`{name}`" for name in kinds)
        yield f"Answer {status}: {told or answer['description']}.\n"
        for name, content in kinds.items():
            if isinstance(content.get("example"), str):
                if not content["example"].startswith("(bytes"):
                    yield from (f"```{name.partition('/')[2]}", content["example"], "```\n")
            elif "example" in content:
                yield from (*_json(content["example"]), "")
    if errors:
        yield from ("| error | code |", "| --- | --- |", *errors, "")


def _objects(document: Schema) -> Iterator[str]:
    """The objects of answers, and those inside of bodies; a body itself stands with its call."""
    schemas = document["components"]["schemas"]
    calls = [one for of in document["paths"].values() for one in of.values()]
    bodies = {
        media["schema"].get("$ref", "").rpartition("/")[2]
        for one in calls
        for media in one.get("requestBody", {}).get("content", {}).values()
    }
    yield "## Objects\n"
    for name, schema in sorted(schemas.items()):
        if name.startswith("ListModel") or name in {*_ELSEWHERE, *bodies} or "enum" in schema:
            continue
        yield f"### {name}\n"
        yield schema.get("description", "") + "\n"
        yield from _fields(schema, with_default="null means that a field is absent" in schema.get("description", ""))
        yield ""
    for name, schema in sorted(schemas.items()):
        if "enum" in schema:
            yield f"### {name}\n"
            yield ", ".join(f"`{value}`" for value in schema["enum"]) + "\n"


def _error_codes(document: Schema) -> Iterator[str]:
    yield "## Error codes\n"
    yield "What a format refuses, and the warnings of a document, are in [formats.md](formats.md).\n"
    yield "| status | code | meaning |"
    yield "| --- | --- | --- |"
    for one in document["components"]["x-error-codes"]:
        yield _row(str(one["status"]), f"`{one['code']}`", one["meaning"])


def _fields(schema: Schema, *, with_default: bool = False) -> Iterator[str]:
    yield "| field | type | default | meaning |" if with_default else "| field | type | meaning |"
    yield "| --- | --- | --- | --- |" if with_default else "| --- | --- | --- |"
    required = schema.get("required", ())
    for name, field in schema.get("properties", {}).items():
        default = ["required" if name in required else _default(field)] if with_default else []
        yield _row(f"`{name}`", _type(field), *default, field.get("description", ""))


def _row(*cells: str) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in cells) + " |"


def _default(schema: Schema) -> str:
    return f"`{json.dumps(schema['default'])}`" if schema.get("default") not in (None, "") else "–"


def _type(schema: Schema) -> str:
    """The type with its limits, such as `integer, 1 to 200`."""
    if "anyOf" in schema:
        return " or ".join(_type(option) for option in schema["anyOf"])
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        return f"[{name}](#{_anchor(_ELSEWHERE.get(name, name))})"
    if "const" in schema:
        return f"`{schema['const']}`"
    if "enum" in schema:
        return ", ".join(f"`{value}`" for value in schema["enum"])
    if schema.get("format") == "binary":
        return "file"
    if schema.get("type") == "array":
        if schema.get("minItems") == schema.get("maxItems") == 4:
            return "box"
        return "array of " + _type(schema["items"]) + _limits(schema, "minItems", "maxItems", "items")
    if schema.get("type") == "object":
        inside = schema.get("additionalProperties")
        return f"object of {_type(inside)}" if isinstance(inside, dict) and "$ref" in inside else "object"
    limits = _limits(schema, "minLength", "maxLength", "characters") or _limits(schema, "minimum", "maximum", "")
    return str(schema.get("type", "any")) + limits


def _limits(schema: Schema, low: str, high: str, unit: str) -> str:
    least, most = schema.get(low), schema.get(high)
    if least is None and most is None:
        return ""
    if most is None:
        said = f"at least {least:,.10g}"
        unit = unit.removesuffix("s") if least == 1 else unit
    else:
        said = f"at most {most:,.10g}" if least is None else f"{least:,.10g} to {most:,.10g}"
    return f", {said} {unit}".rstrip()


def _answer_type(schema: Schema) -> str:
    name = schema.get("$ref", "").rpartition("/")[2]
    listed = re.fullmatch(r"ListModel_(\w+)_", name)
    if listed:
        return f"a [list](#lists-and-paging) of [{listed[1]}](#{_anchor(listed[1])})"
    return _type(schema) if name else ""


def _list_schema(schemas: Schema) -> Schema:
    found = next(schema for name, schema in sorted(schemas.items()) if name.startswith("ListModel"))
    data = {**found["properties"]["data"], "items": {"type": "object"}}
    return {**found, "properties": {**found["properties"], "data": data}}


def _resolved(schema: Schema, schemas: Schema) -> Schema:
    """The schema itself, or what it refers to, also where it may be left out."""
    for option in (schema, *schema.get("anyOf", ())):
        if "$ref" in option:
            found: Schema = schemas[option["$ref"].rpartition("/")[2]]
            return found
    return schema


def _json(value: Any) -> Iterable[str]:
    return ("```json", _laid_out(value), "```")


def _laid_out(value: Any, indent: str = "", taken: int = 0) -> str:
    """JSON with what fits into a line on one line; `taken` characters of the first line are used already."""
    short = json.dumps(value, ensure_ascii=False)
    if len(indent) + taken + len(short) <= _WIDTH or not isinstance(value, (dict, list)) or not value:
        return short
    inner = indent + "  "
    if isinstance(value, list):
        lines = [inner + _laid_out(item, inner) for item in value]
        return "[\n" + ",\n".join(lines) + f"\n{indent}]"
    lines = [f"{inner}{json.dumps(name)}: {_laid_out(item, inner, len(name) + 4)}" for name, item in value.items()]
    return "{\n" + ",\n".join(lines) + f"\n{indent}}}"


def _title(tag: str) -> str:
    return tag[:1].upper() + tag[1:]


def _anchor(heading: str) -> str:
    """The name that GitHub gives to a heading."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


def _openapi_document() -> Schema:
    from api.app import create_app
    from services.runtime import open_runtime
    from services.settings import Settings

    with tempfile.TemporaryDirectory() as folder:
        runtime = open_runtime(Settings(data_dir=Path(folder), text_model="hash"))
        try:
            return create_app(runtime).openapi()
        finally:
            runtime.close()


if __name__ == "__main__":
    PAGE.write_text(api_page(_openapi_document()), encoding="utf-8")
