"""`docatlas search` and `docatlas context`: cited passages, and a prompt of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer
from rich.rule import Rule

from cli.console import (
    AsJson,
    DataDir,
    counted,
    escaped,
    open_data,
    plain,
    print_json,
    print_line,
    print_text,
    print_warning,
    progress_console,
    result_console,
)
from cli.models import require_text_model
from database.records import LOCAL_ACTOR, DocumentFilter
from services.content import Box

if TYPE_CHECKING:
    from services.runtime import Runtime
    from services.search.search import Shortfall

TEXT_LINES = 8
"""Lines of a passage that a person is shown; `--json` has all of it."""


class Mode(StrEnum):
    HYBRID = "hybrid"
    SEMANTIC = "semantic"
    KEYWORD = "keyword"


Documents = Annotated[
    list[str] | None, typer.Option("--document", help="Look only into this document; may be repeated.")
]


def search(
    query: Annotated[str, typer.Argument(help="Words or a question.")],
    mode: Annotated[Mode, typer.Option("--mode", help="By meaning, by words, or both.")] = Mode.HYBRID,
    k: Annotated[int, typer.Option("-k", "--limit", min=1, max=200, help="Hits at most.")] = 8,
    min_score: Annotated[
        float, typer.Option("--min-score", min=0.0, max=1.0, help="Least cosine of a passage; 0 for no cut.")
    ] = 0.3,
    document: Documents = None,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Finds passages and pictures, each with its document, page and box."""
    from services.search.search import SearchRequest
    from services.search.search import search as run_search

    request = SearchRequest(query=query, mode=mode.value, k=k, min_score=min_score, document_ids=document or None)
    with open_data(data_dir) as runtime:
        if mode is not Mode.KEYWORD:
            require_text_model(runtime.settings)
        with _patience("searching"):
            result = run_search(runtime, LOCAL_ACTOR, request)
        is_empty = not result.hits and not _has_documents(runtime)
    if as_json:
        from api.http.addresses import PLAIN
        from api.models.from_records import search_answer

        print_json(search_answer(result, PLAIN, with_text=True).model_dump(mode="json"))
        return
    _print_warnings(result.warnings)
    console = result_console()
    for hit in result.hits:
        console.print(
            Rule(plain(f"{hit.rank}. {hit.document.filename}, page {hit.page}, score {hit.score:.3f}"), align="left")
        )
        if hit.chunk is not None:
            lines = hit.chunk.chunk_text.strip().splitlines()
            print_text(escaped("\n".join(lines[:TEXT_LINES] + (["…"] if len(lines) > TEXT_LINES else []))))
        elif hit.image is not None:
            print_line(f"picture {hit.image.image_id}, {hit.image.width} by {hit.image.height} pixels")
        if hit.box is not None:
            print_line(f"box {format_box(hit.box)} of document {hit.document.document_id}")
    if is_empty:
        print_warning("nothing is stored yet; run `docatlas ingest` with your files.", "no_documents")
    print_line(f"{counted(len(result.hits), 'hit')} in {result.took_ms:.0f} ms")


def context(
    message: Annotated[str, typer.Argument(help="The question that a chat model is to answer.")],
    k: Annotated[int, typer.Option("-k", "--limit", min=1, max=200, help="Sources at most.")] = 8,
    token_budget: Annotated[
        int, typer.Option("--token-budget", min=200, max=1_000_000, help="Tokens of the prompt at most.")
    ] = 3000,
    document: Documents = None,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Prints a prompt with numbered sources, ready for any chat model; no model is called."""
    from services.chat.context import ContextRequest, prepare_context

    request = ContextRequest(message=message, k=k, token_budget=token_budget, document_ids=document or None)
    with open_data(data_dir) as runtime:
        require_text_model(runtime.settings)
        with _patience("looking for sources"):
            prepared = prepare_context(runtime, LOCAL_ACTOR, request)
        is_empty = not prepared.sources and not _has_documents(runtime)
    if as_json:
        from api.http.addresses import PLAIN
        from api.models.from_records import context_members

        print_json(context_members(prepared, PLAIN))
        return
    _print_warnings(prepared.warnings)
    if is_empty:
        print_warning("nothing is stored yet; run `docatlas ingest` with your files.", "no_documents")
    print_text(prepared.prompt)
    progress_console().print(plain(f"{prepared.tokens} tokens; {prepared.summary}"))


def _has_documents(runtime: Runtime) -> bool:
    from services.documents import documents

    return bool(documents.list_documents(runtime, LOCAL_ACTOR, only=DocumentFilter(), limit=1, cursor=None).data)


def _print_warnings(warnings: Sequence[Shortfall]) -> None:
    for warning in warnings:
        print_warning(warning.message, warning.code)


def format_box(box: Box) -> str:
    """The box as a person reads it: points from the page's top left."""
    return "(" + ", ".join(f"{edge:.0f}" for edge in box) + ")"


@contextmanager
def _patience(what: str) -> Iterator[None]:
    """Shows on a terminal that the model is being loaded, which takes some seconds."""
    console = progress_console()
    if not console.is_terminal:
        yield
        return
    with console.status(f"{what}…"):
        yield
