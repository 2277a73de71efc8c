"""What was read from a document: its bytes, text, pages, pictures and chunks."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from anyio import to_thread
from fastapi import APIRouter, Header, Query
from fastapi.responses import Response, StreamingResponse

from api.http.dependencies import (
    ActorDep,
    AddressesDep,
    ChildrenDep,
    DocumentId,
    ImageId,
    PageNumber,
    PagingDep,
    RuntimeDep,
)
from api.http.files import file_response, matches_tag
from api.models.base import ListModel, page_of
from api.models.documents import ChunkModel, ImageModel, PageDetail, PageModel
from api.models.from_records import chunk_model, image_model, page_detail, page_model
from api.openapi import BINARY, CONTENT_FORMS, PAGE_IMAGE, REDIRECTED
from services.documents import documents, export, files, page_images

router = APIRouter(tags=["contents"])

CONTENT_TYPES = {
    "markdown": "text/markdown; charset=utf-8",
    "text": "text/plain; charset=utf-8",
    "json": "application/json",
}

IfNoneMatch = Annotated[
    str | None, Header(description="`ETag` of the copy that you have: 304 where it is current", examples=['"9f86d081"'])
]
Redirect = Annotated[
    bool,
    Query(
        description="Answer 307 with a signed address where the file lies in Supabase Storage; elsewhere the bytes",
        examples=[True],
    ),
]
RANGE: dict[str, Any] = {
    "parameters": [
        {
            "name": "range",
            "in": "header",
            "required": False,
            "schema": {"type": "string"},
            "description": "One range of bytes; the answer is 206. Several at once are answered with the whole file",
            "example": "bytes=0-1023",
        }
    ]
}
"""The header that `api.files` reads."""
FILE_ANSWERS: dict[int | str, dict[str, Any]] = {
    200: BINARY,
    206: BINARY,
    304: {"description": "The copy at hand is current"},
    307: REDIRECTED,
}


@router.get(
    "/v1/documents/{document_id}/file",
    response_class=Response,
    responses=FILE_ANSWERS,
    openapi_extra=RANGE,
    summary="Download the original",
)
def get_file(
    document_id: DocumentId,
    runtime: RuntimeDep,
    actor: ActorDep,
    redirect: Redirect = False,
    if_none_match: IfNoneMatch = None,
) -> Response:
    """The bytes as they were uploaded. `Range` is supported."""
    file = files.original(runtime, actor, document_id)
    return file_response(runtime, file, redirect=redirect, if_none_match=if_none_match)


@router.get(
    "/v1/documents/{document_id}/content",
    response_class=Response,
    responses={200: CONTENT_FORMS, 304: {"description": "The copy at hand is current"}},
    summary="Read the extracted document",
)
def get_content(
    document_id: DocumentId,
    runtime: RuntimeDep,
    actor: ActorDep,
    format: Annotated[
        Literal["markdown", "text", "json"],
        Query(
            description="`markdown`: with headings and tables. `text`: plain; offsets count its characters. "
            "`json`: pages with their blocks",
            examples=["markdown"],
        ),
    ] = "markdown",
    if_none_match: IfNoneMatch = None,
) -> Response:
    """In reading order, in UTF-8. The offsets of chunks count code points of `format=text`."""
    content = export.render_content(runtime, actor, document_id, format)
    headers = {"ETag": f'"{content.tag}"', "Cache-Control": "private, no-cache"}
    if matches_tag(if_none_match, content.tag):
        content.chunks.close()
        return Response(status_code=304, headers=headers)
    headers["Content-Length"] = str(content.size_bytes)
    return StreamingResponse(content.chunks, headers=headers, media_type=CONTENT_TYPES[format])


@router.get("/v1/documents/{document_id}/pages", response_model=ListModel[PageModel], summary="List pages")
def list_pages(
    document_id: DocumentId, runtime: RuntimeDep, actor: ActorDep, addresses: AddressesDep, paging: PagingDep
) -> dict[str, Any]:
    """How each page was read."""
    document = documents.get_document(runtime, actor, document_id)
    found = documents.list_pages(runtime, actor, document_id, limit=paging.limit, cursor=paging.cursor)
    return page_of([page_model(page, document, addresses) for page in found.data], found.next_cursor)


@router.get("/v1/documents/{document_id}/pages/{number}", response_model=PageDetail, summary="Read a page")
def get_page(
    document_id: DocumentId, number: PageNumber, runtime: RuntimeDep, actor: ActorDep, addresses: AddressesDep
) -> PageDetail:
    """A page's text with the box of every word."""
    document = documents.get_document(runtime, actor, document_id)
    return page_detail(documents.get_page(runtime, actor, document_id, number), document, addresses)


@router.get(
    "/v1/documents/{document_id}/pages/{number}/image",
    response_class=Response,
    responses={200: PAGE_IMAGE, 304: {"description": "The copy at hand is current"}},
    summary="See a page",
)
async def get_page_image(
    document_id: DocumentId,
    number: PageNumber,
    runtime: RuntimeDep,
    actor: ActorDep,
    children: ChildrenDep,
    width: Annotated[
        int, Query(ge=page_images.MIN_WIDTH, le=page_images.MAX_WIDTH, description="Width in pixels", examples=[1200])
    ] = page_images.DEFAULT_WIDTH,
    if_none_match: IfNoneMatch = None,
) -> Response:
    """The page as a picture (WebP), for formats whose pages have a layout, such as PDF and pictures."""
    image = await to_thread.run_sync(
        page_images.page_image, runtime, actor, document_id, number, width, limiter=children
    )
    return _picture(image, if_none_match)


def _picture(image: page_images.PageImage, if_none_match: str | None) -> Response:
    headers = {"ETag": f'"{image.tag}"', "Cache-Control": "private, no-cache"}
    if matches_tag(if_none_match, image.tag):
        return Response(status_code=304, headers=headers)
    return Response(image.content, headers=headers, media_type=image.media_type)


@router.get("/v1/documents/{document_id}/images", response_model=ListModel[ImageModel], summary="List pictures")
def list_images(
    document_id: DocumentId, runtime: RuntimeDep, actor: ActorDep, addresses: AddressesDep, paging: PagingDep
) -> dict[str, Any]:
    """The pictures that were cut out of the document, in order."""
    found = documents.list_images(runtime, actor, document_id, limit=paging.limit, cursor=paging.cursor)
    return page_of([image_model(image, addresses) for image in found.data], found.next_cursor)


@router.get("/v1/documents/{document_id}/chunks", response_model=ListModel[ChunkModel], summary="List chunks")
def list_chunks(document_id: DocumentId, runtime: RuntimeDep, actor: ActorDep, paging: PagingDep) -> dict[str, Any]:
    """The passages that are searched, in order."""
    found = documents.list_chunks(runtime, actor, document_id, limit=paging.limit, cursor=paging.cursor)
    return page_of([chunk_model(chunk) for chunk in found.data], found.next_cursor)


@router.get("/v1/images/{image_id}", response_model=ImageModel, tags=["images"], summary="Read a picture's record")
def get_image(image_id: ImageId, runtime: RuntimeDep, actor: ActorDep, addresses: AddressesDep) -> ImageModel:
    """Where the picture stands and how large it is."""
    return image_model(documents.get_image(runtime, actor, image_id), addresses)


@router.get(
    "/v1/images/{image_id}/thumbnail",
    response_class=Response,
    responses={200: PAGE_IMAGE, 304: {"description": "The copy at hand is current"}},
    tags=["images"],
    summary="See a picture in small",
)
async def get_thumbnail(
    image_id: ImageId,
    runtime: RuntimeDep,
    actor: ActorDep,
    children: ChildrenDep,
    width: Annotated[
        int,
        Query(ge=16, le=page_images.MAX_THUMBNAIL_WIDTH, description="Width in pixels, at most", examples=[256]),
    ] = page_images.THUMBNAIL_WIDTH,
    if_none_match: IfNoneMatch = None,
) -> Response:
    """The picture at most `width` pixels wide, as WebP."""
    image = await to_thread.run_sync(page_images.thumbnail, runtime, actor, image_id, width, limiter=children)
    return _picture(image, if_none_match)


@router.get(
    "/v1/images/{image_id}/content",
    response_class=Response,
    responses=FILE_ANSWERS,
    openapi_extra=RANGE,
    tags=["images"],
    summary="See a picture",
)
def get_image_content(
    image_id: ImageId,
    runtime: RuntimeDep,
    actor: ActorDep,
    redirect: Redirect = False,
    if_none_match: IfNoneMatch = None,
) -> Response:
    """The picture's bytes. `Range` is supported."""
    file = files.picture(runtime, actor, image_id)
    return file_response(runtime, file, redirect=redirect, if_none_match=if_none_match)
