"""Documents: upload, list, read, change, delete, read again."""

from __future__ import annotations

import re
from typing import Annotated, Any

from anyio import to_thread
from fastapi import APIRouter, Body, Query, Request, Response
from pydantic import TypeAdapter, ValidationError

from api.http.addresses import Addresses
from api.http.dependencies import ActorDep, AddressesDep, DocumentId, PagingDep, RuntimeDep
from api.http.errors import request_id_of
from api.http.uploads import json_field, only_fields, read_upload, whole_number
from api.models.base import EXAMPLE_DOCUMENT_ID, JsonObject, ListModel, page_of
from api.models.documents import DocumentModel, DocumentPatch, DocumentStatus, OptionsModel, ProcessAnswer, UploadAnswer
from api.models.from_records import document_model, upload_entry
from api.models.jobs import JobModel, job_model
from api.openapi import PROCESS_FORM, UPLOAD_FORM
from database.records import Actor, Condition, DocumentFilter, DocumentRecord
from services.documents import documents
from services.documents.documents import Accepted
from services.errors import FieldError, InvalidOption
from services.formats.registry import Format
from services.options import pointer_step
from services.runtime import Runtime

router = APIRouter(tags=["documents"])

UPLOAD_PATHS = frozenset({"/v1/documents", "/process", "/process-with-embeddings", "/v1/search/image"})

METADATA_FILTER: dict[str, Any] = {
    "parameters": [
        {
            "name": "metadata",
            "in": "query",
            "required": False,
            "style": "deepObject",
            "explode": True,
            "schema": {"type": "object"},
            "description": "Only documents whose metadata has this value: `metadata[year]=2024` or "
            "`metadata.year=2024`. `true`, `false` and numbers match these values and their text",
            "example": {"year": 2024},
        }
    ]
}
"""What `_metadata_conditions` reads from the query string."""

_METADATA_PARAMETER = re.compile(r"metadata(?:\.(?P<dotted>[^\[\]]+)|\[(?P<bracketed>[^\[\]]+)\])")
_METADATA = TypeAdapter[dict[str, Any]](JsonObject)


@router.post(
    "/v1/documents",
    status_code=202,
    response_model=UploadAnswer,
    openapi_extra={"requestBody": UPLOAD_FORM},
    summary="Upload files",
)
async def upload_documents(
    request: Request, response: Response, runtime: RuntimeDep, actor: ActorDep, addresses: AddressesDep
) -> UploadAnswer:
    """Stores one or many files and queues a job for each. A bad file among several is `rejected` and costs no other.

    A single file that is refused is answered with its error's own status. One job: `Location` is its path.
    """
    async with read_upload(
        request,
        scratch=runtime.blobs.scratch(),
        file_names=frozenset({"files", "file", "files[]"}),
        max_bytes=runtime.settings.max_upload_bytes,
        max_files=runtime.settings.max_files_per_request,
    ) as form:
        only_fields(form, {"options", "metadata"})
        options, metadata = json_field(form.fields, "options"), _metadata(json_field(form.fields, "metadata"))
        accepted = await to_thread.run_sync(
            lambda: documents.accept(runtime, actor, form.files, options=options, metadata=metadata)
        )
    if len(accepted) == 1 and accepted[0].job is not None:
        response.headers["Location"] = f"/v1/jobs/{accepted[0].job.job.job_id}"
    request_id = request_id_of(request.scope)
    return UploadAnswer(
        data=[
            upload_entry(entry, addresses, instance=request.scope["path"], request_id=request_id) for entry in accepted
        ]
    )


@router.get(
    "/v1/documents",
    response_model=ListModel[DocumentModel],
    openapi_extra=METADATA_FILTER,
    summary="List documents",
)
def list_documents(
    request: Request,
    runtime: RuntimeDep,
    actor: ActorDep,
    addresses: AddressesDep,
    paging: PagingDep,
    status: Annotated[
        list[DocumentStatus] | None,
        Query(description="Only with one of these; may come several times", examples=[["completed"]]),
    ] = None,
    format: Annotated[
        list[Format] | None, Query(description="Only of these formats; may come several times", examples=[["pdf"]])
    ] = None,
    created_after: Annotated[
        str | None, Query(max_length=64, description="Uploaded later: a date or RFC 3339 time", examples=["2026-11-01"])
    ] = None,
    q: Annotated[
        str | None, Query(max_length=255, description="Part of the file name; case does not matter", examples=["lease"])
    ] = None,
    parent_id: Annotated[
        str | None,
        Query(max_length=64, description="Documents inside this mail or archive", examples=[EXAMPLE_DOCUMENT_ID]),
    ] = None,
) -> dict[str, Any]:
    """Newest first. What lies inside a mail or an archive is listed with `parent_id` only."""
    found = documents.list_documents(
        runtime,
        actor,
        only=DocumentFilter(conditions=_metadata_conditions(request)),
        status=status or (),
        file_type=[item.value for item in format or []],
        created_after=created_after,
        name_contains=q,
        parent_id=parent_id,
        limit=paging.limit,
        cursor=paging.cursor,
    )
    newest = documents.newest_jobs(runtime, actor, [document.document_id for document in found.data])
    data = [document_model(document, addresses, job=newest.get(document.document_id)) for document in found.data]
    return page_of(data, found.next_cursor)


@router.get("/v1/documents/{document_id}", response_model=DocumentModel, summary="Read a document's record")
def get_document(
    document_id: DocumentId, runtime: RuntimeDep, actor: ActorDep, addresses: AddressesDep
) -> DocumentModel:
    """The document with its status, its counts and what went wrong with parts of it."""
    return _full_model(runtime, actor, addresses, documents.get_document(runtime, actor, document_id))


@router.patch("/v1/documents/{document_id}", response_model=DocumentModel, summary="Edit title and metadata")
def patch_document(
    document_id: DocumentId, patch: DocumentPatch, runtime: RuntimeDep, actor: ActorDep, addresses: AddressesDep
) -> DocumentModel:
    """Changes what is given and leaves the rest. `metadata` takes the place of the whole object."""
    document = documents.update_document(runtime, actor, document_id, title=patch.title, metadata=patch.metadata)
    return _full_model(runtime, actor, addresses, document)


@router.delete("/v1/documents/{document_id}", status_code=204, summary="Delete a document")
def delete_document(document_id: DocumentId, runtime: RuntimeDep, actor: ActorDep) -> Response:
    """Deletes the document and those inside it with every chunk, vector, picture and file. Jobs of them end."""
    documents.delete_document(runtime, actor, document_id)
    return Response(status_code=204)


@router.post(
    "/v1/documents/{document_id}/reprocess", status_code=202, response_model=JobModel, summary="Read a document again"
)
def reprocess_document(
    document_id: DocumentId,
    response: Response,
    runtime: RuntimeDep,
    actor: ActorDep,
    options: Annotated[OptionsModel | None, Body()] = None,
) -> JobModel:
    """Queues a job that reads the stored original with new options; readers see the old content until it has ended."""
    given = None if options is None else options.model_dump(exclude_none=True)
    view = documents.reprocess(runtime, actor, document_id, given)
    response.headers["Location"] = f"/v1/jobs/{view.job.job_id}"
    return job_model(view)


@router.post(
    "/process",
    status_code=202,
    response_model=ProcessAnswer,
    openapi_extra={"requestBody": PROCESS_FORM},
    tags=["original design"],
    summary="Upload one file, text only",
)
async def process(
    request: Request, response: Response, runtime: RuntimeDep, actor: ActorDep, addresses: AddressesDep
) -> ProcessAnswer:
    """Stores the text of one file without vectors. Kept for clients of the original design; see POST /v1/documents."""
    return await _process(request, response, runtime, actor, addresses, embed=False)


@router.post(
    "/process-with-embeddings",
    status_code=202,
    response_model=ProcessAnswer,
    openapi_extra={"requestBody": PROCESS_FORM},
    tags=["original design"],
    summary="Upload one file",
)
async def process_with_embeddings(
    request: Request, response: Response, runtime: RuntimeDep, actor: ActorDep, addresses: AddressesDep
) -> ProcessAnswer:
    """Stores the text of one file with vectors. Kept for clients of the original design; see POST /v1/documents."""
    return await _process(request, response, runtime, actor, addresses, embed=True)


async def _process(
    request: Request, response: Response, runtime: Runtime, actor: ActorDep, addresses: Addresses, *, embed: bool
) -> ProcessAnswer:
    async with read_upload(
        request,
        scratch=runtime.blobs.scratch(),
        file_names=frozenset({"file"}),
        max_bytes=runtime.settings.max_upload_bytes,
        max_files=1,
    ) as form:
        only_fields(form, {"chunk_size", "chunk_overlap"})
        options: dict[str, Any] = {name: whole_number(name, text) for name, text in form.fields.items() if text.strip()}
        if not form.files:
            raise InvalidOption(
                "The request holds no file. Send one part named `file`.",
                code="invalid_request",
                errors=(FieldError("/file", "is required"),),
            )
        accepted = await to_thread.run_sync(
            lambda: documents.accept(runtime, actor, form.files, options=options, embed=embed, options_at="")
        )
    return _process_answer(accepted[0], response, addresses)


def _full_model(runtime: Runtime, actor: Actor, addresses: Addresses, document: DocumentRecord) -> DocumentModel:
    """The document with the ids of those inside it and its newest job."""
    children = documents.children_of(runtime, actor, document.document_id)
    job = documents.newest_jobs(runtime, actor, [document.document_id]).get(document.document_id)
    return document_model(document, addresses, children, job)


def _process_answer(entry: Accepted, response: Response, addresses: Addresses) -> ProcessAnswer:
    assert entry.document is not None  # a single file that is refused raises
    job = None if entry.job is None else job_model(entry.job)
    if job is not None:
        response.headers["Location"] = f"/v1/jobs/{job.id}"
    document = document_model(entry.document, addresses, job=None if entry.job is None else entry.job.job)
    return ProcessAnswer(
        document_id=document.id,
        job_id=None if job is None else job.id,
        status=document.status if job is None else job.status,
        document=document,
        job=job,
    )


def _metadata(given: dict[str, Any] | None) -> dict[str, Any] | None:
    """The metadata of an upload, with the checks that a JSON body gets."""
    if given is None:
        return None
    try:
        return _METADATA.validate_python(given)
    except ValidationError as error:
        message = error.errors()[0]["msg"].removeprefix("Value error, ")
        raise InvalidOption(
            f"`metadata` {message}.", code="invalid_request", errors=(FieldError("/metadata", message),)
        ) from error


def _metadata_conditions(request: Request) -> tuple[Condition, ...]:
    """Equality with what the query string says; a value that reads as a number or a truth value matches either kind."""
    conditions = []
    for name, text in request.query_params.multi_items():
        if not name.startswith("metadata"):
            continue
        found = _METADATA_PARAMETER.fullmatch(name)
        if found is None:
            message = "is no filter; write metadata.<key>=<value> or metadata[<key>]=<value>"
            pointer = f"/query/{pointer_step(name)}"
            raise InvalidOption(f"{pointer} {message}.", code="invalid_filter", errors=(FieldError(pointer, message),))
        values: list[Any] = [text]
        if text in ("true", "false"):
            values.append(text == "true")
        elif re.fullmatch(r"-?\d{1,15}", text, re.ASCII):
            values.append(int(text))
        elif re.fullmatch(r"-?\d{1,15}\.\d{1,15}", text, re.ASCII):
            values.append(float(text))
        key = found["dotted"] or found["bracketed"]
        conditions.append(Condition(f"metadata.{key}", "$in", values))
    return tuple(conditions)
