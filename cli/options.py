"""Options of the command line that say how a file is to be read."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from services.options import OCR_MODES

Ocr = Annotated[str | None, typer.Option("--ocr", help=f"One of {', '.join(OCR_MODES)}.")]
OcrLanguages = Annotated[
    list[str] | None, typer.Option("--ocr-language", help="Tesseract language code; may be repeated.")
]
ChunkSize = Annotated[int | None, typer.Option("--chunk-size", help="Characters of a chunk.")]
ChunkOverlap = Annotated[int | None, typer.Option("--chunk-overlap", help="Characters shared by neighbours.")]
Pages = Annotated[str | None, typer.Option("--pages", help="Pages to read, as in 1-3,7.")]


def options_given(
    ocr: str | None,
    ocr_languages: list[str] | None,
    chunk_size: int | None,
    chunk_overlap: int | None,
    pages: str | None,
) -> dict[str, Any]:
    """The options as `parse_options` takes them; None for what was not given."""
    return {
        "ocr": ocr,
        "ocr_languages": ocr_languages or None,
        "chunk_size": chunk_size,
        "chunk_overlap": chunk_overlap,
        "pages": pages,
    }
