from __future__ import annotations

import re
from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.chunking.chunker import Chunker
from services.chunking.sentences import cut_between_characters, sentence_ends, splits_character
from services.content import PAGE_SEPARATOR, UNSEARCHED, Block, BlockKind, Chunk, Page, Word
from services.formats.kit.page_builder import PageBuilder
from services.options import Options

_PIECES = re.compile(r"[^\W_]{1,5}|[^\w\s]|_")


def count_tokens(text: str) -> int:
    """Counts as a word-piece tokenizer does: pieces of words, signs one by one, and two special tokens."""
    return 2 + len(_PIECES.findall(text))


def chunk(
    pages: list[Page], *, size: int = 1000, overlap: int = 200, max_tokens: int = 384, title: str = ""
) -> list[Chunk]:
    chunker = Chunker(
        Options(chunk_size=size, chunk_overlap=overlap), max_tokens=max_tokens, count_tokens=count_tokens, title=title
    )
    found = [made for page in pages for made in chunker.feed(page)]
    return found + chunker.finish()


def plain(*texts: str) -> list[Page]:
    return [Page(number, text) for number, text in enumerate(texts, 1)]


def document(pages: list[Page]) -> str:
    return PAGE_SEPARATOR.join(page.text for page in pages)


def check(pages: list[Page], chunks: list[Chunk], *, size: int, max_tokens: int) -> None:
    """All that holds of every document's passages."""
    text = document(pages)
    covered, unsearched = bytearray(len(text)), unsearched_characters(pages)
    for ordinal, made in enumerate(chunks):
        assert made.ordinal == ordinal
        assert made.text == "".join(text[span.char_start : span.char_end] for span in made.spans)
        assert made.text == made.text.strip() != ""
        assert len(made.text) <= size
        whole = f"{made.prefix}\n{made.text}" if made.prefix else made.text
        assert count_tokens(whole) <= max_tokens or len(made.text) == 1
        for a, b in pairwise(made.spans):
            assert a.page <= b.page
            between = range(a.char_end, b.char_start)
            assert a.page < b.page or between
            assert all(unsearched[at] or text[at].isspace() for at in between)
        for span in made.spans:
            covered[span.char_start : span.char_end] = b"\x01" * (span.char_end - span.char_start)
    assert all(covered[at] or unsearched[at] or char.isspace() for at, char in enumerate(text))
    assert not any(covered[at] and unsearched[at] for at in range(len(text)))
    starts = [made.spans[0].char_start for made in chunks]
    ends = [made.spans[-1].char_end for made in chunks]
    assert all(a < b for a, b in pairwise(starts))
    assert all(a < b for a, b in pairwise(ends))


def unsearched_characters(pages: list[Page]) -> bytearray:
    """1 for each character of the document that stands in a block which is not searched."""
    marks = bytearray()
    for page in pages:
        if marks or page is not pages[0]:
            marks += bytes(len(PAGE_SEPARATOR))
        own = bytearray(len(page.text))
        for block in page.blocks:
            if block.kind in UNSEARCHED:
                own[block.char_start : block.char_end] = b"\x01" * (block.char_end - block.char_start)
        marks += own
    return marks


_ALPHABET = st.sampled_from(
    ["word", "longerword", "a", "x" * 150, " ", "  ", "\n", "\n\n", ". ", "? ", "Dr. ", "…", "漢字", "。", "「", "」",
     "e\u0301", "\u0301" * 30, "👩‍👩‍👧", "🇩🇪", "，", "-", "_",
     "\t", "ไทย", "1.5"]
)  # fmt: skip
_TEXT = st.lists(_ALPHABET, max_size=120).map("".join)


@st.composite
def page_texts(draw: st.DrawFn) -> list[Page]:
    pages = []
    for number in range(1, draw(st.integers(1, 4)) + 1):
        builder = PageBuilder(number)
        for _ in range(draw(st.integers(0, 5))):
            kind = draw(st.sampled_from(list(BlockKind)))
            if kind is BlockKind.TABLE:
                builder.add_table(draw(st.lists(st.lists(_TEXT, max_size=3), max_size=5)))
            else:
                builder.add(kind, draw(_TEXT), level=draw(st.integers(0, 6)))
        built = builder.build()
        pages.append(built if draw(st.booleans()) else Page(number, built.text + draw(_TEXT)))
    return pages


@settings(max_examples=300, deadline=None)
@given(
    page_texts(),
    st.integers(100, 400),
    st.floats(0, 0.99),
    st.sampled_from([12, 40, 384]),
    st.sampled_from(["", "A title"]),
)
def test_passages_hold_every_promise(pages: list[Page], size: int, share: float, max_tokens: int, title: str) -> None:
    chunks = chunk(pages, size=size, overlap=int(size * share), max_tokens=max_tokens, title=title)
    check(pages, chunks, size=size, max_tokens=max_tokens)


@settings(max_examples=100, deadline=None)
@given(
    st.lists(st.sampled_from(["alpha", "be", "gamma-ray", "d.", "Eps!", "\n", "\n\n"]), max_size=400),
    st.integers(100, 300),
)
def test_words_are_never_split(words: list[str], size: int) -> None:
    text = " ".join(words)
    for made in chunk(plain(text), size=size, overlap=size // 3):
        start, end = made.spans[0].char_start, made.spans[-1].char_end
        assert start == 0 or text[start - 1].isspace()
        assert end == len(text) or text[end].isspace()


@settings(max_examples=100, deadline=None)
@given(page_texts())
def test_passages_do_not_depend_on_when_pages_come(pages: list[Page]) -> None:
    whole = PAGE_SEPARATOR.join(page.text for page in pages)
    one = chunk([Page(1, whole)], size=150, overlap=40)
    check([Page(1, whole)], one, size=150, max_tokens=384)
    again = chunk(pages, size=150, overlap=40)
    assert again == chunk(pages, size=150, overlap=40)


@pytest.mark.parametrize(
    "text",
    [
        "x" * 300_000,
        "." * 100_000,
        ". " * 50_000,
        "o" + "\u0301" * 50_000,
        "日本語" * 30_000,
        "a" * 999 + " ",
        "word " * 40_000,
    ],
    ids=["one word", "dots", "spaced dots", "marks", "no spaces", "just fits", "no sentence"],
)
def test_hostile_text_is_cut_to_size(text: str) -> None:
    pages = plain(text)
    check(pages, chunk(pages), size=1000, max_tokens=384)


def test_short_document_is_one_passage() -> None:
    (made,) = chunk(plain("One. Two.\n\nThree."))
    assert (made.text, made.prefix) == ("One. Two.\n\nThree.", "")


def test_document_of_white_space_has_no_passage() -> None:
    assert chunk(plain(" \n", "", "\t")) == []


def test_cut_is_made_between_sentences_and_not_behind_abbreviations() -> None:
    sentence = "The report of Dr. Lind, e.g. its Fig. 3, covers 1.5 km of the U.S. coast. "
    for made in chunk(plain(sentence * 40), size=400, overlap=0):
        assert made.text.startswith("The report")
        assert made.text.endswith("coast.")


def test_sentences_of_several_scripts_are_told_apart() -> None:
    def sentences(text: str) -> list[str]:
        ends = [0, *sentence_ends(text, 0, len(text))]
        return [text[a:b].strip() for a, b in pairwise(ends)]

    assert sentences("One. Two? “Three!” Four") == ["One.", "Two?", "“Three!”", "Four"]
    assert sentences("これは文です。次の文です！「はい。」終わり") == [
        "これは文です。",
        "次の文です！",
        "「はい。」",
        "終わり",
    ]
    assert sentences("A. B. Smith came. He left.") == ["A. B. Smith came.", "He left."]
    assert sentences("पहला वाक्य। दूसरा वाक्य।") == ["पहला वाक्य।", "दूसरा वाक्य।"]


def test_neighbours_share_whole_sentences() -> None:
    text = " ".join(f"Sentence number {n} is here." for n in range(200))
    chunks = chunk(plain(text), size=500, overlap=100)
    for before, after in pairwise(chunks):
        shared = before.spans[-1].char_end - after.spans[0].char_start
        assert 0 < shared <= 100
        assert after.text.startswith("Sentence number")


def test_heading_begins_a_passage_and_ends_none() -> None:
    builder = PageBuilder(1)
    for n in range(8):
        builder.add(BlockKind.HEADING, f"Section {n}", level=2)
        builder.add(BlockKind.PARAGRAPH, "Some words about it. " * 15)
    page = builder.build()
    chunks = chunk([page], size=450, overlap=100)
    assert len(chunks) == 8
    assert all(made.text.startswith(f"Section {n}") for n, made in enumerate(chunks))


def test_prefix_names_the_headings_above() -> None:
    builder = PageBuilder(1)
    builder.add(BlockKind.HEADING, "Manual", level=1)
    builder.add(BlockKind.HEADING, "Pumps", level=2)
    builder.add(BlockKind.PARAGRAPH, "Prime the pump. " * 60)
    first, *others = chunk([builder.build()], size=500, overlap=50, title="Manual")
    assert first.prefix == ""
    assert others
    assert all(made.prefix == "Manual > Pumps" for made in others)


def test_long_prefix_is_shortened_to_a_third() -> None:
    builder = PageBuilder(1)
    for level in range(1, 7):
        builder.add(BlockKind.HEADING, f"Heading {level} " + "of many words " * 12, level=level)
    builder.add(BlockKind.PARAGRAPH, "Text of the section. " * 100)
    chunks = chunk([builder.build()], size=600, max_tokens=120)
    check([builder.build()], chunks, size=600, max_tokens=120)
    assert all(count_tokens(made.prefix) - 2 <= 118 // 3 for made in chunks)
    assert chunks[-1].prefix


def test_table_is_cut_between_rows_and_carries_its_header() -> None:
    builder = PageBuilder(1)
    builder.add_table([["Port", "Berths"], *([f"Port number {n}", str(n)] for n in range(100))])
    first, *others = chunk([builder.build()], size=300, overlap=60)
    assert first.text.startswith("Port | Berths\nPort number 0 | 0")
    assert first.prefix == ""
    for made in others:
        assert made.prefix == "Port | Berths"
        assert all(line.count(" | ") == 1 for line in made.text.split("\n"))


def test_passage_over_two_pages_has_a_span_on_each() -> None:
    (made,) = chunk(plain("It begins here", "and ends here."))
    assert made.text == "It begins here\n\nand ends here."
    assert [(span.page, span.char_start, span.char_end) for span in made.spans] == [(1, 0, 16), (2, 16, 30)]


def test_spans_have_one_box_a_line() -> None:
    words = (
        Word("One", (10, 10, 30, 20), 0, 3),
        Word("two", (35, 11, 50, 20), 4, 7),
        Word("three", (10, 25, 40, 35), 8, 13),
    )
    (made,) = chunk([Page(4, "One two three", words=words)])
    assert made.spans[0].page == 4
    assert made.spans[0].boxes == ((10, 10, 50, 20), (10, 25, 40, 35))


def test_spans_without_words_have_the_boxes_of_blocks() -> None:
    block = Block(BlockKind.PARAGRAPH, 0, 3, box=(1, 2, 3, 4))
    (made,) = chunk([Page(1, "One", blocks=(block,))])
    assert made.spans[0].boxes == ((1, 2, 3, 4),)


def test_text_that_no_block_holds_is_not_lost() -> None:
    page = Page(1, "before\n\nheading\n\nafter", blocks=(Block(BlockKind.HEADING, 8, 15, level=1),))
    assert "".join(made.text for made in chunk([page])) == page.text


def test_characters_of_several_code_points_stay_whole() -> None:
    text = "x" * 3 + "👩\u200d👩\u200d👧" + "🇩🇪🇫🇷" + "e\u0301"
    cuts = [at for at in range(1, len(text)) if not splits_character(text, at)]
    assert cuts == [1, 2, 3, 8, 10, 12]
    assert cut_between_characters(text, 3, 6) == 6
    assert cut_between_characters(text, 2, 6) == 3


def test_memory_does_not_grow_with_pages() -> None:
    chunker = Chunker(Options(), max_tokens=384, count_tokens=count_tokens)
    for number in range(1, 200):
        made = chunker.feed(Page(number, "Some words in a sentence. " * 40))
        assert number == 1 or made
        assert chunker.pending_chars <= 3000


def furnished(number: int, header: str, body: list[str], footer: str) -> Page:
    builder = PageBuilder(number)
    builder.add(BlockKind.PAGE_HEADER, header)
    for paragraph in body:
        builder.add(BlockKind.PARAGRAPH, paragraph)
    builder.add(BlockKind.PAGE_FOOTER, footer)
    return builder.build()


def test_headers_and_footers_stay_out_of_passages() -> None:
    pages = [furnished(1, "Annual report", ["One begins here and"], "Page 1"),
             furnished(2, "Annual report", ["goes on there."], "Page 2")]  # fmt: skip
    (made,) = chunk(pages)
    assert made.text == "One begins here and\n\ngoes on there."
    text = document(pages)
    assert [text[s.char_start : s.char_end] for s in made.spans] == ["One begins here and\n\n", "goes on there."]
    assert [s.page for s in made.spans] == [1, 2]


def test_a_deletion_is_cut_out_of_the_middle_of_a_page() -> None:
    builder = PageBuilder(1)
    builder.add(BlockKind.PARAGRAPH, "Kept before.")
    builder.add(BlockKind.DELETION, "Taken out.")
    builder.add(BlockKind.PARAGRAPH, "Kept after.")
    (made,) = chunk([builder.build()])
    assert made.text == "Kept before.\n\nKept after."
    assert len(made.spans) == 2


def test_a_page_of_furniture_only_gives_no_passage() -> None:
    assert chunk([furnished(1, "Header", [], "Footer"), furnished(2, "Header", [], "Footer")]) == []


def test_a_table_that_goes_on_keeps_the_header_row_of_its_first_page() -> None:
    first, second = PageBuilder(1), PageBuilder(2)
    first.add_table([["Port", "Depth"]] + [[f"Harbour {n}", f"{n} m"] for n in range(12)])
    second.add_table([[f"Haven {n}", f"{n} m"] for n in range(12)])
    page = second.build()
    going_on = replace(page, blocks=(replace(page.blocks[0], continues=True),))
    made = chunk([first.build(), going_on], size=100, overlap=0)
    assert made[0].prefix == ""
    assert all(m.prefix == "Port | Depth" for m in made if m.spans[0].page == 2)
    assert sum(m.spans[0].page == 2 for m in made) > 1
