"""The extracted document as Markdown, plain text or JSON.

The whole is rendered page by page into a spooled file within one read transaction: memory stays bounded by a page, a
slow client holds no connection, and a reprocess that ends meanwhile cannot mix two generations.
"""

from __future__ import annotations

import hashlib
import json
import re
import tempfile
from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from typing import IO, Literal

from database.documents import contents, documents
from database.records import Actor, DocumentRecord, PageRecord
from database.store import Transaction
from services.content import PAGE_SEPARATOR, STAGES_AFTER_EXTRACTION, UNSEARCHED, Block, BlockKind, Mark, MarkKind
from services.documents.documents import existing
from services.errors import Conflict
from services.page_json import unpack_blocks, unpack_marks
from services.runtime import Runtime

ContentForm = Literal["markdown", "text", "json"]

SPOOL_BYTES = 4 * 1024**2
"""Up to this the rendered document stays in memory; about a thousand pages of text."""

CHUNK_BYTES = 256 * 1024

_BULLET = re.compile(r"\s*(?:[•◦▪▫●○■□‣⁃∙·]|[-–—*+](?=\s)|\(?(?:\d{1,4}|[A-Za-z])[.)](?=\s))\s*")
_NUMBER = re.compile(r"\s*\(?(\d{1,4})[.)]\s")
_LOOKS_LIKE_MARKUP = re.compile(r"(\s{0,3})(#{1,6}(?=\s|$)|>|[-+*](?=\s|$)|={3,}\s*$|-{3,}\s*$|`{3,}|~{3,}|\|)")
_LOOKS_NUMBERED = re.compile(r"(\s{0,3}\d{1,9})([.)])(?=\s|$)")
_TAG = re.compile(r"<(?=[A-Za-z/!?])")
_FENCES = re.compile(r"`{3,}")
_LINK_START, _LINK_END = "\x02", "\x03"
_LINKED = re.compile(f"{_LINK_START}([^{_LINK_END}]*){_LINK_END}")
_IN_ADDRESS = {ord("<"): "%3C", ord(">"): "%3E", ord("\n"): "%0A", ord("\r"): "%0D", ord(" "): "%20"}
_WITHOUT_LINKS = frozenset((BlockKind.CODE, BlockKind.TABLE))
"""Code is shown as it is, and the cells of a table are texts of their own; `json` has the links of both."""


@dataclass(frozen=True, slots=True)
class RenderedContent:
    """A rendered document, in `chunks` that can be walked once.

    The walk's end, `close()` or the loss of the object frees the file behind it.
    """

    size_bytes: int
    chunks: Generator[bytes, None, None]
    tag: str


def render_content(runtime: Runtime, actor: Actor, document_id: str, form: ContentForm) -> RenderedContent:
    """The document as `form`, in UTF-8.

    Raises NotFound, and Conflict (`not_ready`) while there is no content.
    """
    with ExitStack() as undo:
        spool: IO[bytes] = undo.enter_context(tempfile.SpooledTemporaryFile(max_size=SPOOL_BYTES))
        with runtime.store.begin(actor) as tx:
            document = existing(documents.get(tx, document_id), document_id)
            generation, pages = _shown_pages(tx, document, with_layout=form != "text")
            for piece in _PIECES[form](document, pages):
                spool.write(piece.encode("utf-8", "replace"))
        size = spool.tell()
        spool.seek(0)
        undo.pop_all()  # the file is handed to the answer, which closes it behind the last byte
    chunks = _walk(spool)
    next(chunks)  # from here on the generator's end, however it comes, closes the file
    tag = f"{document.document_id}-{generation}-{form}"
    if form == "json":  # the only form that holds the title, which may be edited
        tag += "-" + hashlib.sha256(document.title.encode("utf-8", "replace")).hexdigest()[:16]
    return RenderedContent(size, chunks, tag)


def _shown_pages(tx: Transaction, document: DocumentRecord, *, with_layout: bool) -> tuple[int, Iterable[PageRecord]]:
    """The generation that is shown and its pages; see `require_content`.

    A new document that is read but not embedded yet is shown already: a long one can be looked at meanwhile.
    """
    if not document.generation:
        job = documents.active_job(tx, document.document_id)
        if job is not None and job.stage in STAGES_AFTER_EXTRACTION:
            return job.generation, contents.pages_written(tx, document.document_id, job.generation)
    require_content(document)
    return document.generation, contents.read_pages(tx, document.document_id, with_layout=with_layout)


def require_content(document: DocumentRecord) -> None:
    """Returns when readers see a generation. Raises Conflict (`not_ready`)."""
    if document.generation:
        return
    if document.status in ("failed", "cancelled"):
        detail = (
            f"The document has no content: its processing ended as {document.status}. Retry its job or reprocess it."
        )
    else:
        detail = f"The document has no content yet: it is {document.status}. Wait for its job."
    raise Conflict(detail, code="not_ready")


def _walk(spool: IO[bytes]) -> Generator[bytes, None, None]:
    with spool:
        yield b""
        while chunk := spool.read(CHUNK_BYTES):
            yield chunk


def _text_pieces(document: DocumentRecord, pages: Iterable[PageRecord]) -> Iterator[str]:
    for index, page in enumerate(pages):
        if index:
            yield PAGE_SEPARATOR
        yield page.text


def _markdown_pieces(document: DocumentRecord, pages: Iterable[PageRecord]) -> Iterator[str]:
    written = in_table = False
    for page in pages:
        body = page_markdown(page.text, unpack_blocks(page.layout), unpack_marks(page.layout), after_table=in_table)
        if body.text:
            separator = "\n" if body.goes_on else "\n\n"
            yield (separator if written else "") + body.text
            written, in_table = True, body.ends_in_table
    if written:
        yield "\n"


def _json_pieces(document: DocumentRecord, pages: Iterable[PageRecord]) -> Iterator[str]:
    head = {"document_id": document.document_id, "title": document.title, "page_separator": PAGE_SEPARATOR}
    yield json.dumps(head, ensure_ascii=False)[:-1] + ', "pages": ['
    for index, page in enumerate(pages):
        shown = {
            "number": page.number,
            "char_start": page.char_start,
            "width": page.width,
            "height": page.height,
            "source": page.source,
            "text": page.text,
            "blocks": page.layout.get("blocks", []),
            "marks": [
                {"kind": m.kind.value, "char_start": m.char_start, "char_end": m.char_end, "target": m.target}
                for m in unpack_marks(page.layout)
            ],
        }
        yield (", " if index else "") + json.dumps(shown, ensure_ascii=False)
    yield "]}"


_PIECES = {"markdown": _markdown_pieces, "text": _text_pieces, "json": _json_pieces}


@dataclass(frozen=True, slots=True)
class PageMarkdown:
    """A page as Markdown."""

    text: str
    goes_on: bool = False
    """True where it begins with further rows of the table that ends the page before."""
    ends_in_table: bool = False


def page_markdown(
    text: str, blocks: Iterable[Block], marks: Sequence[Mark] = (), *, after_table: bool = False
) -> PageMarkdown:
    """A page as Markdown that reads like the document.

    What no block covers is shown as paragraphs. Page headers, page footers and deleted text are left out.
    `after_table`: the page before ends in a table, which a table that `continues` adds its rows to.
    """
    parts: list[str] = []
    goes_on = ends_in_table = says_hidden = False
    numbering: dict[int, int] = {}
    position = 0
    in_list = False
    for block in blocks:
        gap = _paragraphs(text[position : block.char_start])
        if gap:
            parts.append(gap)
            ends_in_table = False
        position = block.char_end
        if block.kind in UNSEARCHED:
            continue
        if block.continues and after_table and not parts and block.rows:
            parts.append(_rows_markdown(block.rows, max(len(row) for row in block.rows)))
            goes_on = ends_in_table = True
            continue
        rendered = _linked_markdown(block, text, marks, numbering)
        if block.kind is BlockKind.HEADING:
            says_hidden = block.hidden
        elif block.kind is BlockKind.TABLE and block.hidden and rendered and not says_hidden:
            rendered = f"*(hidden)*\n\n{rendered}"
        if block.kind is not BlockKind.LIST_ITEM:
            numbering.clear()
        if not rendered:
            continue
        is_item = block.kind is BlockKind.LIST_ITEM
        if is_item and in_list and not gap:
            parts[-1] += "\n" + rendered
        else:
            parts.append(rendered)
        in_list = is_item
        ends_in_table = block.kind is BlockKind.TABLE
    rest = _paragraphs(text[position:])
    if rest:
        parts.append(rest)
        ends_in_table = False
    return PageMarkdown("\n\n".join(parts), goes_on, ends_in_table)


def _linked_markdown(block: Block, text: str, marks: Sequence[Mark], numbering: dict[int, int]) -> str:
    """The block as Markdown with its links.

    They travel through the escaping between two characters that no text keeps.
    """
    start, end = block.char_start, block.char_end
    pieces: list[str] = []
    targets: list[str] = []
    at = start
    for mark in marks:
        if mark.kind is not MarkKind.LINK or block.kind in _WITHOUT_LINKS or not at <= mark.char_start < end:
            continue
        stop = min(mark.char_end, end)
        pieces += [_bare(text[at : mark.char_start]), _LINK_START, _bare(text[mark.char_start : stop]), _LINK_END]
        targets.append(mark.target)
        at = stop
    rendered = _block_markdown(block, "".join([*pieces, _bare(text[at:end])]), numbering)
    for target in targets:
        rendered = _LINKED.sub(partial(_shown_link, target), rendered, count=1)
    return rendered


def _bare(text: str) -> str:
    return text.replace(_LINK_START, "").replace(_LINK_END, "")


def _shown_link(target: str, found: re.Match[str]) -> str:
    label = found[1]
    address = target.translate(_IN_ADDRESS)
    if label == target and address == target:
        return f"<{target}>"
    shown = label.replace("[", "\\[").replace("]", "\\]")
    return f"[{shown}](<{address}>)" if re.search(r"[()\s]", address) else f"[{shown}]({address})"


def _block_markdown(block: Block, text: str, numbering: dict[int, int]) -> str:
    if block.kind is BlockKind.TABLE:
        return table_markdown(block.rows) if block.rows else _paragraphs(text)
    if not text.strip():
        return ""
    match block.kind:
        case BlockKind.HEADING:
            hidden = " *(hidden)*" if block.hidden else ""
            return "#" * min(6, max(1, block.level)) + " " + _without_tags(" ".join(text.split())) + hidden
        case BlockKind.COMMENT | BlockKind.SPEAKER_NOTE:
            label = "Comment" if block.kind is BlockKind.COMMENT else "Notes"
            return "\n".join(f"> {line}".rstrip() for line in f"**{label}:** {_paragraphs(text)}".splitlines())
        case BlockKind.LIST_ITEM:
            return _item_markdown(block, text, numbering)
        case BlockKind.CODE:
            longest = max((len(run) for run in _FENCES.findall(text)), default=2)
            fence = "`" * (longest + 1)
            language = re.sub(r"[^\w+#.-]", "", block.language)
            return f"{fence}{language}\n{text.strip(chr(10))}\n{fence}"
        case BlockKind.QUOTE:
            return "\n".join(f"> {line}".rstrip() for line in _paragraphs(text).splitlines())
        case _:
            return _paragraphs(text)


def _item_markdown(block: Block, text: str, numbering: dict[int, int]) -> str:
    level = max(1, block.level)
    for deeper in [known for known in numbering if known > level]:
        del numbering[deeper]
    numbering[level] = numbering.get(level, 0) + 1
    marker = "-"
    if block.ordered:
        named = _NUMBER.match(text)
        numbering[level] = int(named[1]) if named else numbering[level]
        marker = f"{numbering[level]}."
    bare = _BULLET.match(text)
    body = text[bare.end() :] if bare else text
    # Four columns a level are deep enough below both `- ` and `10. `.
    indent = "    " * (level - 1)
    lines = [_without_tags(line.strip()) for line in body.strip().splitlines() if line.strip()]
    return f"{indent}{marker} " + f"\n{indent}{' ' * (len(marker) + 1)}".join(lines)


def table_markdown(rows: tuple[tuple[str, ...], ...]) -> str:
    """The rows as a GitHub-flavoured table, the first as its header.

    Ragged rows are filled up.
    """
    columns = max((len(row) for row in rows), default=0)
    if not columns:
        return ""
    header, body = _rows_markdown(rows[:1], columns), _rows_markdown(rows[1:], columns)
    return "\n".join(line for line in (header, "|" + " --- |" * columns, body) if line)


def _rows_markdown(rows: Sequence[Sequence[str]], columns: int) -> str:
    return "\n".join(
        "| " + " | ".join([_cell(cell) for cell in row] + [""] * (columns - len(row))) + " |" for row in rows
    )


def _cell(text: str) -> str:
    return _without_tags(" ".join(text.split()).replace("\\", "\\\\").replace("|", "\\|"))


def _paragraphs(text: str) -> str:
    blocks = (block for block in re.split(r"\n[^\S\n]*\n", text) if block.strip())
    return "\n\n".join("\n".join(_plain_line(line) for line in block.strip("\n").splitlines()) for block in blocks)


def _plain_line(line: str) -> str:
    """`line`, escaped so that Markdown takes it for plain text."""
    escaped = (
        _LOOKS_LIKE_MARKUP.sub(r"\1\\\2", line.strip(), count=1) if _LOOKS_LIKE_MARKUP.match(line) else line.strip()
    )
    numbered = _LOOKS_NUMBERED.match(escaped)
    if numbered:
        escaped = f"{numbered[1]}\\{numbered[2]}{escaped[numbered.end() :]}"
    return _without_tags(escaped)


def _without_tags(text: str) -> str:
    return _TAG.sub(r"\\<", text)
