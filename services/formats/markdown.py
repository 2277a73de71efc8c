"""Markdown (CommonMark, tables, strike-through): the text without its markup, in blocks."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from services.content import BlockKind, DocumentInfo, Part, Upload
from services.formats import ExtractContext
from services.formats.assembly import PageBuilder
from services.formats.decoding import clean_text, decode_text
from services.formats.embedded import PictureWriter
from services.formats.paging import give_pages, wants_pictures

if TYPE_CHECKING:
    from markdown_it import MarkdownIt
    from markdown_it.token import Token

_FRONT_MATTER = re.compile(r"\A---[ \t]*\n((?:[^\n]{0,2000}\n){0,200}?)(?:---|\.\.\.)[ \t]*(?:\n|\Z)")
_FRONT_LINE = re.compile(r"^(title|author|lang|language)[ \t]*:[ \t]*(.{1,500})$", re.I | re.M)
_LANGUAGE = re.compile(r"[A-Za-z]{2,3}(-[A-Za-z0-9]{2,8}){0,3}")
_MAX_INLINE_CHARS = 50_000
"""A longer paragraph keeps its markup: nested brackets take time in the square of their number.

Source: 50,000 brackets take 0.5 s, 100,000 1.2 s on one core of a 2024 server; honest paragraphs end below 10,000."""

_BREAK_TAG = re.compile(r"<br\s*/?>", re.I)


def extract_markdown(upload: Upload, context: ExtractContext) -> Iterator[Part]:
    """One page. A title comes from the front matter, else from the first heading."""
    text, _ = decode_text(upload.path.read_bytes())
    front: dict[str, str] = {}
    match = _FRONT_MATTER.match(text)
    if match and ":" in match.group(1):
        front = {key.lower(): value.strip().strip("\"'") for key, value in _FRONT_LINE.findall(match.group(1))}
        text = text[match.end() :]
    page = PageBuilder(1)
    reader = _Reader(page)
    reader.read(text)
    language = front.get("lang") or front.get("language") or ""
    yield DocumentInfo(
        title=front.get("title") or reader.first_heading,
        author=front.get("author", ""),
        language=language if _LANGUAGE.fullmatch(language) else "",
    )
    if wants_pictures(1, context):
        writer = PictureWriter(context)
        for source, alt in reader.pictures:
            yield from writer.write_data_uri(source, page=1, alt=alt)
    yield from give_pages([page.build()], context)


def _parser() -> MarkdownIt:
    from markdown_it import MarkdownIt

    parser = MarkdownIt("commonmark").enable(["table", "strikethrough"]).disable(["inline", "text_join"])
    parser.validateLink = lambda url: True  # type: ignore[method-assign]  # data: pictures; no link is ever followed
    return parser


class _Reader:
    def __init__(self, page: PageBuilder) -> None:
        self._page = page
        self._parser = _parser()
        self._env: dict[str, object] = {}
        self.pictures: list[tuple[str, str]] = []
        self.first_heading = ""
        self._lists: list[bool] = []
        self._item_is_fresh = False
        self._quotes = 0

    def read(self, text: str) -> None:
        tokens = self._parser.parse(text, self._env)
        rows: list[list[str]] = []
        heading = 0
        for token in tokens:
            match token.type:
                case "heading_open":
                    heading = int(token.tag[1])
                case "heading_close":
                    heading = 0
                case "bullet_list_open" | "ordered_list_open":
                    self._lists.append(token.type == "ordered_list_open")
                case "bullet_list_close" | "ordered_list_close":
                    self._lists.pop()
                case "list_item_open":
                    self._item_is_fresh = True
                case "blockquote_open":
                    self._quotes += 1
                case "blockquote_close":
                    self._quotes -= 1
                case "fence" | "code_block":
                    words = token.info.split()
                    self._page.add(BlockKind.CODE, token.content, language=words[0][:32] if words else "")
                case "html_block":
                    self._add_html(token.content)
                case "table_open":
                    rows = []
                case "tr_open":
                    rows.append([])
                case "table_close":
                    self._page.add_table(rows)
                    rows = []
                case "inline" if rows:
                    rows[-1].append(self._inline(token.content))
                case "inline":
                    self._add_text(self._inline(token.content), heading)
                case _:
                    pass

    def _add_text(self, text: str, heading: int) -> None:
        if heading:
            self.first_heading = self.first_heading or " ".join(text.split())[:500]
            self._page.add(BlockKind.HEADING, text, level=heading)
        elif self._lists and self._item_is_fresh:
            self._page.add(BlockKind.LIST_ITEM, text, level=len(self._lists), ordered=self._lists[-1])
        else:
            self._page.add(BlockKind.QUOTE if self._quotes else BlockKind.PARAGRAPH, text)
        self._item_is_fresh = False

    def _add_html(self, source: str) -> None:
        from services.formats.webpage import parse_html
        from services.formats.webtree import read_tree

        root = parse_html(source)
        if root is not None:
            self.pictures += read_tree(root, self._page)

    def _inline(self, content: str) -> str:
        if len(content) > _MAX_INLINE_CHARS:
            return content
        tokens: list[Token] = []
        self._parser.inline.parse(content, self._parser, self._env, tokens)
        return clean_text("".join(self._inline_text(tokens)))

    def _inline_text(self, tokens: Sequence[Token]) -> Iterator[str]:
        for token in tokens:
            match token.type:
                case "text" | "text_special" | "code_inline":
                    yield token.content
                case "softbreak":
                    yield " "
                case "hardbreak":
                    yield "\n"
                case "html_inline":
                    yield "\n" if _BREAK_TAG.fullmatch(token.content) else ""
                case "image":
                    alt = "".join(self._inline_text(token.children or ()))
                    source = str(token.attrs.get("src", ""))
                    if source[:5].lower() == "data:":
                        self.pictures.append((source, alt))
                    yield alt
                case _:
                    pass
