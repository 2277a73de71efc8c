"""Reads Markdown as blocks of text without its markup.

CommonMark, with tables and strike-through.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from html import unescape
from typing import TYPE_CHECKING

from services.content import BlockKind, DocumentInfo, Issue, Mark, MarkKind, Part, Upload
from services.errors import UnreadableDocument
from services.formats.base import ExtractContext
from services.formats.kit.decoding import clean_text, decode_text
from services.formats.kit.page_builder import PageBuilder, one_line
from services.formats.kit.paging import give_pages, wants_pictures
from services.formats.kit.picture_writer import PictureWriter
from services.formats.kit.run_text import RunText
from services.formats.web.tree import TreePicture

if TYPE_CHECKING:
    from markdown_it import MarkdownIt
    from markdown_it.rules_block import StateBlock
    from markdown_it.token import Token

_FRONT_MATTER = re.compile(r"\A---[ \t]*\n((?:[^\n]{0,2000}\n){0,200}?)(?:---|\.\.\.)[ \t]*(?:\n|\Z)")
_FRONT_LINE = re.compile(r"^(title|author|lang|language)[ \t]*:[ \t]*(.{1,500})$", re.I | re.M)
_LANGUAGE = re.compile(r"[A-Za-z]{2,3}(-[A-Za-z0-9]{2,8}){0,3}")
_MAX_INLINE_CHARS = 50_000
"""A longer paragraph keeps its markup: nested brackets take time in the square of their number.

Source: 50,000 brackets take 0.5 s, 100,000 1.2 s on one core of a 2024 server; honest paragraphs end below 10,000."""

_FOOTNOTE = re.compile(r"\[\^([^\]\s]{1,100})\]:")
_IMAGE_ALT = re.compile(r"<img\b[^>]{0,2000}?\balt\s*=\s*(?:\"([^\"]{0,500})\"|'([^']{0,500})')", re.I)
_STRIKE_TAG = re.compile(r"<(/?)(?:del|s|strike)\b[^>]{0,500}>", re.I)
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
    reader = MarkdownReader(page)
    reader.read(text)
    language = front.get("lang") or front.get("language") or ""
    yield DocumentInfo(
        title=front.get("title") or reader.first_heading,
        author=front.get("author", ""),
        language=language if _LANGUAGE.fullmatch(language) else "",
    )
    yield from reader.issues
    if wants_pictures(1, context):
        writer = PictureWriter(context)
        for picture in reader.pictures:
            yield from writer.write_data_uri(picture.source, page=1, alt=picture.alt, caption=picture.caption)
        yield from writer.close()
    yield from give_pages([page.build()], context)


def _parser() -> MarkdownIt:
    from markdown_it import MarkdownIt

    parser = MarkdownIt("commonmark").enable(["table", "strikethrough"]).disable(["inline", "text_join"])
    parser.block.ruler.before("reference", "footnote", _footnote_rule, {"alt": ["paragraph", "reference"]})
    parser.validateLink = lambda url: True  # type: ignore[method-assign]  # data: pictures; no link is ever followed
    return parser


def _footnote_rule(state: StateBlock, start: int, end: int, silent: bool) -> bool:
    """A block rule for `[^1]: the note`, up to the next blank line.

    CommonMark would take a word for an address.
    """
    if state.is_code_block(start):
        return False
    match = _footnote_at(state, start)
    if match is None:
        return False
    if silent:
        return True
    last = start + 1
    while last < end and not state.isEmpty(last) and _footnote_at(state, last) is None:
        last += 1
    rest = state.getLines(start, last, state.blkIndent, False)
    token = state.push("inline", "", 0)
    token.content = rest[rest.index("]:") + 2 :].strip()
    token.meta = {"footnote": match.group(1)}
    token.map = [start, last]
    token.children = []
    state.line = last
    return True


def _footnote_at(state: StateBlock, line: int) -> re.Match[str] | None:
    return _FOOTNOTE.match(state.src, state.bMarks[line] + state.tShift[line], state.eMarks[line])


class MarkdownReader:
    """Adds the blocks of Markdown texts to a page.

    `pictures` holds those that were met, in order.
    """

    def __init__(self, page: PageBuilder, issues: list[Issue] | None = None) -> None:
        self._page = page
        self._parser = _parser()
        self._env: dict[str, object] = {}
        self.pictures: list[TreePicture] = []
        self.issues = [] if issues is None else issues
        """Parts that could not be read and were left out."""
        self.first_heading = ""
        self._struck: list[str] = []
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
                    self._write_struck()
                    rows = []
                case "inline" if rows:
                    rows[-1].append(self._inline(token.content)[0])
                case "inline" if "footnote" in token.meta:
                    text, marks = self._inline(token.content, f"[{token.meta['footnote']}] ")
                    self._page.add(BlockKind.FOOTNOTE, text, marks=marks)
                    self._write_struck()
                case "inline":
                    self._add_text(*self._inline(token.content), heading)
                case _:
                    pass

    def _add_text(self, text: str, marks: Sequence[Mark], heading: int) -> None:
        if heading:
            self.first_heading = self.first_heading or " ".join(text.split())[:500]
            self._page.add(BlockKind.HEADING, text, level=heading, marks=marks)
        elif self._lists and self._item_is_fresh:
            level, ordered = len(self._lists), self._lists[-1]
            self._page.add(BlockKind.LIST_ITEM, text, level=level, ordered=ordered, marks=marks)
        else:
            self._page.add(BlockKind.QUOTE if self._quotes else BlockKind.PARAGRAPH, text, marks=marks)
        self._item_is_fresh = False
        self._write_struck()

    def _write_struck(self) -> None:
        """Writes what was struck out of the block that was just written."""
        struck, self._struck = self._struck, []
        for text in struck:
            self._page.add(BlockKind.DELETION, text)

    def _add_html(self, source: str) -> None:
        from services.formats.web.html import parse_html
        from services.formats.web.tree import TreeReader

        try:
            root = parse_html(source)
        except UnreadableDocument as error:
            message = f"A block of HTML was left out: {error.detail}"
            self.issues.append(Issue(error.code, message, self._page.number))
            return
        if root is not None:
            reader = TreeReader(self._page, has_chrome=False)
            reader.read(root)
            self.pictures += reader.pictures

    def _inline(self, content: str, before: str = "") -> tuple[str, Sequence[Mark]]:
        """(text, marks) of a paragraph's markup, behind `before`."""
        if len(content) > _MAX_INLINE_CHARS:
            return before + clean_text(content), ()
        tokens: list[Token] = []
        self._parser.inline.parse(content, self._parser, self._env, tokens)
        run = RunText()
        run.add(before)
        self._add_inline(tokens, run)
        return run.take()

    def _add_inline(self, tokens: Sequence[Token], paragraph: RunText) -> None:
        run, depth = paragraph, 0
        struck = RunText()
        at_gap = False
        for token in tokens:
            strike = _STRIKE_TAG.fullmatch(token.content) if token.type == "html_inline" else None
            if token.type in ("s_open", "s_close") or strike is not None:
                ends = token.type == "s_close" or (strike is not None and bool(strike.group(1)))
                depth = max(0, depth - 1) if ends else depth + 1
                run = struck if depth else paragraph
                if not depth and len(struck):
                    self._struck.append(struck.take()[0])
                    at_gap = paragraph.ends_in_space
                continue
            match token.type:
                case "text" | "text_special" | "code_inline":
                    text = token.content
                    if at_gap and not depth:
                        text, at_gap = text.removeprefix(" "), not text
                    run.add(text)
                case "softbreak":
                    run.add(" ")
                case "hardbreak":
                    run.break_line()
                case "link_open":
                    run.open(MarkKind.LINK, str(token.attrs.get("href", "")))
                case "link_close":
                    run.close(MarkKind.LINK)
                case "html_inline":
                    if _BREAK_TAG.fullmatch(token.content):
                        run.break_line()
                    elif (alt := _IMAGE_ALT.match(token.content)) is not None:
                        run.add(unescape(alt.group(1) or alt.group(2) or ""))
                case "image":
                    inner = RunText()
                    self._add_inline(token.children or (), inner)
                    alt_text, _ = inner.take()
                    source = str(token.attrs.get("src", ""))
                    if source[:5].lower() == "data:":
                        caption = one_line(str(token.attrs.get("title", "")))
                        self.pictures.append(TreePicture(source, alt_text, caption))
                    run.add(alt_text)
                case _:
                    pass
        if len(struck):
            self._struck.append(struck.take()[0])
