"""What the worker does with its one request: reads a document, or draws a page of it."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from types import MappingProxyType
from typing import IO, Any

from services.chunking.chunker import Chunker
from services.content import DocumentInfo, Limits, Page
from services.embedding.tokenizer import load_tokenizer
from services.errors import DocatlasError, FieldError, InvalidOption
from services.formats.base import ExtractContext, Extractor
from services.formats.registry import Format
from services.sandbox.confinement import confine, lay_limits, readable_paths, try_to_leave
from services.sandbox.problems import memory_problem, problem_of
from services.sandbox.wire import (
    Piece,
    frame,
    pack_part,
    pack_problem,
    unpack_format,
    unpack_limits,
    unpack_options,
    unpack_upload,
)

Send = Callable[[dict[str, Any]], None]


def serve(
    request: Mapping[str, Any], out: IO[bytes], replaced: Mapping[Format, Extractor] = MappingProxyType({})
) -> None:
    """Confines this process and answers the request: frames of parts or a picture, and `end`; or one `problem`.

    A format in `replaced` is read by that instead of its own reader.
    """
    limits = unpack_limits(request["limits"])
    lay_limits(limits)
    in_force = confine({**request, "readable": _readable(request), "programs": _programs(request)})

    def send(message: dict[str, Any]) -> None:
        out.write(frame(message))
        out.flush()

    try:
        match request["task"]:
            case "render":
                send(_render(request, limits))
            case "probe":
                folder = Path(request["private"])
                send({"type": "probe", **in_force, **try_to_leave(folder, request["targets"])})
            case _:
                for part in _extract(request, limits, replaced):
                    send(pack_part(part))
        send({"type": "end"})
    except DocatlasError as error:
        send(pack_problem(error.problem))
    except MemoryError:
        send(pack_problem(memory_problem(limits.memory_bytes)))
    except BrokenPipeError:
        raise
    except Exception as error:  # the boundary: whatever a parser raises on a hostile file is that file's problem
        with suppress(OSError):  # a parser that complained without end has used up what may be printed
            print(f"{type(error).__name__}: {error}", file=sys.stderr, flush=True)
        send(pack_problem(problem_of(error, limits)))


def _readable(request: Mapping[str, Any]) -> list[str]:
    """The files that the task reads, wherever they lie."""
    upload = request.get("upload")
    paths = [request.get("tokenizer"), request.get("known_pages"), None if upload is None else upload["path"]]
    return readable_paths(paths)


def _programs(request: Mapping[str, Any]) -> list[str]:
    """The folders of the programs that the task may start, and of what they read."""
    engine = request.get("ocr") or {}
    programs = [request.get("libreoffice"), *(value for value in engine.values() if isinstance(value, str))]
    prefixes = [_prefix_of(Path(name).resolve()) for name in programs if name and Path(name).is_absolute()]
    # A package unpacked beside the system keeps its settings and extensions beside it.
    for path in [one for one in prefixes if one.parts[-3:-1] == ("usr", "lib")]:
        prefixes += [path.parents[2] / "etc" / path.name, path.parents[2] / "var" / "spool" / path.name]
    return readable_paths(prefixes)


def _prefix_of(program: Path) -> Path:
    """The folder that a program is installed in with its libraries and data; a folder is that itself."""
    if program.is_dir():
        return program
    folder = program.parent
    return folder.parent if folder.name in ("bin", "program") and folder.parent != folder.parent.parent else folder


def _extract(request: Mapping[str, Any], limits: Limits, replaced: Mapping[Format, Extractor]) -> Iterator[Piece]:
    """Yields the parts of the document and, behind each page, the chunks that are complete by then."""
    from services.sandbox.known_pages import KnownPages
    from services.sandbox.ocr_choice import open_engine

    upload, options = unpack_upload(request["upload"]), unpack_options(request["options"])
    context = ExtractContext(
        options=options,
        password=request["password"],
        folder=Path(request["folder"]),
        limits=limits,
        ocr=open_engine(request["ocr"]),
        known_pages=KnownPages(request["known_pages"]),
        known_pictures=frozenset(request["known_pictures"]),
        archive_depth=request["archive_depth"],
        libreoffice=None if request["libreoffice"] is None else Path(request["libreoffice"]),
    )
    chunker: Chunker | None = None
    info, has_pages = DocumentInfo(), False
    format = unpack_format(request["format"])
    read = replaced.get(format) or format.spec.extract
    for part in read(upload, context):
        if isinstance(part, DocumentInfo):
            info = part
        yield part
        has_pages = has_pages or isinstance(part, Page)
        if isinstance(part, Page) and request["chunk"]:
            if chunker is None:
                chunker = Chunker(
                    options,
                    max_tokens=request["max_tokens"],
                    count_tokens=_chunk_token_counter(request["tokenizer"]),
                    title=info.title,
                )
            yield from chunker.feed(part)
    if options.pages and not has_pages:
        raise InvalidOption(
            f"`pages` is `{options.pages}`, but the document has no such page (of {info.page_count}).",
            code="no_such_page",
            errors=(FieldError("/options/pages", "must name pages that the document has"),),
        )
    if chunker is not None:
        yield from chunker.finish()


def _chunk_token_counter(tokenizer_path: str | None) -> Callable[[str], int]:
    """Counts the text model's tokens with the two that frame a text; without a tokenizer, words."""
    if tokenizer_path is None:
        return lambda text: len(text.split())
    tokenizer = load_tokenizer(tokenizer_path)
    return lambda text: len(tokenizer.encode(text).ids)


def _render(request: Mapping[str, Any], limits: Limits) -> dict[str, Any]:
    from services.formats.page_images import render_page

    upload = unpack_upload(request["upload"])
    data, media_type = render_page(
        upload.path,
        unpack_format(request["format"]),
        int(request["page"]),
        int(request["width"]),
        password=request["password"],
        limits=limits,
    )
    path = Path(request["folder"]) / "page"
    path.write_bytes(data)
    return {"type": "rendered", "path": path.name, "media_type": media_type}
