"""Search and context."""

from __future__ import annotations

from typing import Annotated, Any

from anyio import to_thread
from fastapi import APIRouter, Query, Request

from api.http.addresses import Addresses
from api.http.dependencies import ActorDep, AddressesDep, ChildrenDep, PagingDep, RuntimeDep
from api.http.uploads import only_fields, read_upload, whole_number
from api.models.base import ListModel, page_of
from api.models.context import ContextAnswer, ContextQuery, LegacyContextAnswer
from api.models.from_records import context_members, search_answer, search_note
from api.models.search import SearchAnswer, SearchNote, SearchQuery
from api.openapi import PICTURE_FORM
from database.records import Actor
from services.chat import context
from services.errors import FieldError, InvalidOption
from services.filters import parse_filters
from services.runtime import Runtime
from services.search import search
from services.search.search import SearchRequest

router = APIRouter()

MAX_PICTURE_BYTES = 32 * 1024**2


@router.post("/v1/search", response_model=SearchAnswer, tags=["search"], summary="Search")
def search_documents(query: SearchQuery, runtime: RuntimeDep, actor: ActorDep, addresses: AddressesDep) -> SearchAnswer:
    """Passages and pictures that match words or a stored picture, best first, with page and box."""
    request = SearchRequest(
        query=query.query,
        image_id=query.image_id,
        modalities=None if query.modalities is None else frozenset(query.modalities),
        mode=query.mode,
        k=query.k,
        min_score=query.min_score or 0.0,
        document_ids=query.document_ids,
        conditions=parse_filters(query.filters),
        with_vectors="vectors" in query.include,
        exact=query.exact,
    )
    return search_answer(search.search(runtime, actor, request), addresses, with_text="text" in query.include)


@router.post(
    "/v1/search/image",
    response_model=SearchAnswer,
    tags=["search"],
    openapi_extra={"requestBody": PICTURE_FORM},
    summary="Search by picture",
)
async def search_by_picture(
    request: Request,
    runtime: RuntimeDep,
    actor: ActorDep,
    addresses: AddressesDep,
    children: ChildrenDep,
    k: Annotated[
        int, Query(ge=1, le=search.MAX_K, description="Hits, at most; the form field `k` goes first", examples=[8])
    ] = 8,
) -> SearchAnswer:
    """Pictures like the uploaded one, and the passages around them. The picture is not kept."""
    async with read_upload(
        request,
        scratch=runtime.blobs.scratch(),
        file_names=frozenset({"file"}),
        max_bytes=min(MAX_PICTURE_BYTES, runtime.settings.max_upload_bytes),
        max_files=1,
    ) as form:
        only_fields(form, {"k"})
        wanted = _wanted(form.fields["k"]) if form.fields.get("k", "").strip() else k
        if not form.files:
            raise InvalidOption(
                "The request holds no picture. Send one part named `file`.",
                code="invalid_request",
                errors=(FieldError("/file", "is required"),),
            )
        received = form.files[0]
        result = await to_thread.run_sync(
            lambda: search.search_by_picture(runtime, actor, received, k=wanted), limiter=children
        )
    return search_answer(result, addresses, with_text=True)


def _wanted(text: str) -> int:
    k = whole_number("k", text)
    if not 1 <= k <= search.MAX_K:
        message = f"must be an integer from 1 to {search.MAX_K}"
        raise InvalidOption(f"/k {message}.", code="invalid_request", errors=(FieldError("/k", message),))
    return k


@router.get("/v1/searches", response_model=ListModel[SearchNote], tags=["search"], summary="List searches")
def list_searches(runtime: RuntimeDep, actor: ActorDep, paging: PagingDep) -> dict[str, Any]:
    """The searches that were made, newest first."""
    found = search.list_searches(runtime, actor, limit=paging.limit, cursor=paging.cursor)
    return page_of([search_note(record) for record in found.data], found.next_cursor)


@router.post("/v1/context", response_model=ContextAnswer, tags=["context"], summary="Prepare a prompt")
def prepare_context(
    query: ContextQuery, runtime: RuntimeDep, actor: ActorDep, addresses: AddressesDep
) -> dict[str, Any]:
    """A prompt for any chat model, with numbered sources. No language model is called."""
    return _members(query, runtime, actor, addresses)


@router.post(
    "/chat/prepare-context",
    response_model=LegacyContextAnswer,
    tags=["original design"],
    summary="Prepare a prompt (original design)",
)
def prepare_chat_context(
    query: ContextQuery, runtime: RuntimeDep, actor: ActorDep, addresses: AddressesDep
) -> dict[str, Any]:
    """As POST /v1/context, with the members of the original design beside it."""
    members = _members(query, runtime, actor, addresses)
    return {
        **members,
        "formatted_prompt": members["prompt"],
        "context_summary": members["summary"],
        "metadata": {
            "k": query.k,
            "token_budget": query.token_budget,
            "tokens": members["tokens"],
            "truncated": members["truncated"],
            "sources": len(members["sources"]),
            "document_ids": sorted({source["document"]["id"] for source in members["sources"]}),
            "image_ids": [image["id"] for image in members["images"]],
        },
    }


def _members(query: ContextQuery, runtime: Runtime, actor: Actor, addresses: Addresses) -> dict[str, Any]:
    request = context.ContextRequest(
        message=query.message,
        history=[context.Turn(turn.role, turn.content) for turn in query.history],
        k=query.k,
        token_budget=query.token_budget,
        document_ids=query.document_ids,
        conditions=parse_filters(query.filters),
    )
    return context_members(context.prepare_context(runtime, actor, request), addresses)
