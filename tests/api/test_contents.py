"""What was read from a document, over HTTP, and how it becomes Markdown."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from io import BytesIO

import httpx
import pytest
from PIL import Image

from services.content import Block, BlockKind, Mark, MarkKind
from services.documents.export import page_markdown, table_markdown
from services.formats.kit.page_builder import PageBuilder
from services.runtime import Runtime
from tests.support.api_server import assert_problem, ingest, opened, upload, wait
from tests.support.databases import Databases
from tests.support.paths import DATA


@pytest.fixture(scope="module")
def server(
    module_databases: Databases, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Runtime, httpx.Client]]:
    with opened(module_databases, tmp_path_factory.mktemp("contents")) as both:
        yield both


@pytest.fixture(scope="module")
def client(server: tuple[Runtime, httpx.Client]) -> httpx.Client:
    return server[1]


@pytest.fixture(scope="module")
def report(client: httpx.Client) -> str:
    """A PDF with three pages, a list, a table and a picture."""
    return ingest(client, "report.pdf", (DATA / "report.pdf").read_bytes())


def test_text_is_utf8_and_has_a_tag(client: httpx.Client, report: str) -> None:
    path = f"/v1/documents/{report}/content"
    reply = client.get(path, params={"format": "text"}, headers={"Accept-Encoding": "identity"})
    assert reply.headers["content-type"] == "text/plain; charset=utf-8"
    assert int(reply.headers["content-length"]) == len(reply.content)
    assert "Harbour report" in reply.text
    again = client.get(path, params={"format": "text"}, headers={"If-None-Match": reply.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")


def test_markdown_has_headings_lists_and_tables(client: httpx.Client, report: str) -> None:
    reply = client.get(f"/v1/documents/{report}/content")
    assert reply.headers["content-type"] == "text/markdown; charset=utf-8"
    assert reply.text.startswith("# Harbour report")
    assert "\n- The crane needs a new cable.\n" in reply.text
    assert "| Month | Ships | Cargo (t) |\n| --- | --- | --- |\n| April |" in reply.text


def test_json_holds_the_pages_that_make_the_text(client: httpx.Client, report: str) -> None:
    path = f"/v1/documents/{report}/content"
    body = client.get(path, params={"format": "json"}).json()
    text = client.get(path, params={"format": "text"}).text
    assert body["page_separator"].join(page["text"] for page in body["pages"]) == text
    for page in body["pages"]:
        assert text[page["char_start"] :].startswith(page["text"])


def test_chunks_slice_the_text_exactly(client: httpx.Client) -> None:
    text = "\n\n".join(f"Paragraph {n} about the tide. It rises — and falls — twice a day." for n in range(120))
    document_id = ingest(client, "tide.txt", text.encode(), options='{"chunk_size": 300, "chunk_overlap": 60}')
    shown = client.get(f"/v1/documents/{document_id}/content", params={"format": "text"}).text
    chunks, cursor = [], None
    while True:
        params = {"limit": 10, **({"cursor": cursor} if cursor else {})}
        page = client.get(f"/v1/documents/{document_id}/chunks", params=params).json()
        chunks += page["data"]
        cursor = page["next_cursor"]
        if cursor is None:
            break
    assert [chunk["ordinal"] for chunk in chunks] == list(range(len(chunks)))
    assert len(chunks) > 10
    for chunk in chunks:
        assert "".join(shown[s["char_start"] : s["char_end"]] for s in chunk["spans"]) == chunk["text"]


def test_pages_say_how_they_were_read(client: httpx.Client, report: str) -> None:
    first = client.get(f"/v1/documents/{report}/pages", params={"limit": 2}).json()
    assert [page["number"] for page in first["data"]] == [1, 2]
    rest = client.get(f"/v1/documents/{report}/pages", params={"cursor": first["next_cursor"]}).json()
    assert [page["number"] for page in rest["data"]] == [3]
    assert rest["has_more"] is False
    page = first["data"][0]
    assert (page["source"], page["reason"], page["confidence"]) == ("native", "", 1.0)
    assert page["words"] > 10


def test_words_slice_the_page_and_lie_on_it(client: httpx.Client, report: str) -> None:
    page = client.get(f"/v1/documents/{report}/pages/1").json()
    assert page["words"]
    for word in page["words"]:
        assert page["text"][word["char_start"] : word["char_end"]] == word["text"]
        x0, y0, x1, y1 = word["box"]
        assert 0 <= x0 <= x1 <= page["width"] + 1
        assert 0 <= y0 <= y1 <= page["height"] + 1
    assert_problem(client.get(f"/v1/documents/{report}/pages/9"), 404, "page_not_found")


def test_page_can_be_seen_and_is_cached(server: tuple[Runtime, httpx.Client], report: str) -> None:
    runtime, client = server
    path = f"/v1/documents/{report}/pages/1/image"
    reply = client.get(path, params={"width": 200})
    assert reply.status_code == 200
    assert reply.headers["content-type"] in ("image/webp", "image/png")
    kept = list((runtime.settings.data_dir / "cache" / "pages").glob(f"{report}-1-200.*"))
    assert [path.read_bytes() for path in kept] == [reply.content]
    assert client.get(path, params={"width": 200}).content == reply.content
    again = client.get(path, params={"width": 200}, headers={"If-None-Match": reply.headers["etag"]})
    assert again.status_code == 304
    assert client.get(f"/v1/documents/{report}/pages/99/image").status_code == 404
    assert_problem(client.get(path, params={"width": 9}), 422, "invalid_request")


def test_picture_comes_in_small_and_goes_with_its_document(server: tuple[Runtime, httpx.Client]) -> None:
    runtime, client = server
    document_id = ingest(client, "letter_small.png", (DATA / "letter.png").read_bytes())
    (image,) = client.get(f"/v1/documents/{document_id}/images").json()["data"]
    reply = client.get(image["thumbnail_url"], params={"width": 64})
    assert reply.status_code == 200
    with Image.open(BytesIO(reply.content)) as small:
        assert small.format == "WEBP"
        assert small.width == 64
    assert client.get(image["thumbnail_url"], params={"width": 64}).content == reply.content
    assert (
        client.get(
            image["thumbnail_url"], params={"width": 64}, headers={"If-None-Match": reply.headers["etag"]}
        ).status_code
        == 304
    )
    kept = runtime.settings.data_dir / "cache" / "pages"
    assert list(kept.glob(f"{document_id}-image-*"))
    assert client.delete(f"/v1/documents/{document_id}").status_code == 204
    assert not list(kept.glob(f"{document_id}-image-*"))
    assert_problem(client.get(image["thumbnail_url"]), 404, "image_not_found")
    assert_problem(client.get(image["thumbnail_url"], params={"width": 5000}), 422, "invalid_request")


def test_format_without_a_layout_has_no_page_image(client: httpx.Client) -> None:
    document_id = ingest(client, "plain.txt", b"Only text.")
    assert_problem(client.get(f"/v1/documents/{document_id}/pages/1/image"), 404, "no_page_image")


def test_picture_comes_with_page_box_and_bytes(client: httpx.Client, report: str) -> None:
    images = client.get(f"/v1/documents/{report}/images").json()["data"]
    assert images
    image = client.get(f"/v1/images/{images[0]['id']}").json()
    assert image == images[0]
    assert image["document_id"] == report
    assert len(image["box"]) == 4
    assert image["has_vector"] is False
    reply = client.get(image["url"])
    assert reply.headers["content-type"] == image["media_type"]
    assert reply.headers["etag"] == f'"{image["sha256"]}"'
    part = client.get(image["url"], headers={"Range": "bytes=0-3"})
    assert (part.status_code, part.content) == (206, reply.content[:4])


def test_content_of_a_failed_document_is_409(client: httpx.Client) -> None:
    entry = upload(client, "encrypted.pdf", (DATA / "encrypted.pdf").read_bytes())
    wait(client, entry["job"]["id"])
    problem = assert_problem(client.get(f"/v1/documents/{entry['document']['id']}/content"), 409, "not_ready")
    assert "failed" in problem["detail"]


@pytest.mark.parametrize("part", ["chunks", "pages", "images"])
def test_wrong_cursor_is_422(client: httpx.Client, report: str, part: str) -> None:
    assert client.get(f"/v1/documents/{report}/{part}", params={"cursor": "?"}).status_code == 422


def block(kind: BlockKind, text: str, whole: str, **given: object) -> Block:
    start = whole.index(text)
    return Block(kind, start, start + len(text), **given)  # type: ignore[arg-type]


def test_text_between_blocks_is_not_lost() -> None:
    text = "before\nTitle\nbetween\nafter"
    assert (
        page_markdown(text, [block(BlockKind.HEADING, "Title", text, level=2)]).text
        == "before\n\n## Title\n\nbetween\nafter"
    )


def test_paragraph_is_not_taken_for_markup() -> None:
    text = "# no heading\n1. no list\n- none either\n> nor quote\n```\n<script>x</script> a < b"
    assert page_markdown(text, []).text.splitlines() == [
        "\\# no heading",
        "1\\. no list",
        "\\- none either",
        "\\> nor quote",
        "\\```",
        "\\<script>x\\</script> a < b",
    ]


def test_lists_nest_and_are_numbered() -> None:
    text = "• one\n◦ inner\n2) two\nthree"
    blocks = [
        block(BlockKind.LIST_ITEM, "• one", text, level=1),
        block(BlockKind.LIST_ITEM, "◦ inner", text, level=2),
        block(BlockKind.LIST_ITEM, "2) two", text, level=1, ordered=True),
        block(BlockKind.LIST_ITEM, "three", text, level=1, ordered=True),
    ]
    assert page_markdown(text, blocks).text == "- one\n    - inner\n2. two\n3. three"


def test_code_is_fenced_beyond_its_own_fences() -> None:
    text = "```\nx\n```"
    made = page_markdown(text, [Block(BlockKind.CODE, 0, len(text), language="c++ `evil")]).text
    assert made == "````c++evil\n```\nx\n```\n````"


def test_quote_marks_every_line() -> None:
    text = "a\nb"
    assert page_markdown(text, [Block(BlockKind.QUOTE, 0, 3)]).text == "> a\n> b"


def test_links_are_shown_and_their_labels_escaped() -> None:
    text = "See the [old] lease <b> here, or https://example.org/a."
    label, address = "[old] lease <b>", "https://example.org/a"
    marks = [
        Mark(MarkKind.LINK, text.index(label), text.index(label) + len(label), "https://example.org/l (1)"),
        Mark(MarkKind.LINK, text.index(address), text.index(address) + len(address), address),
    ]
    made = page_markdown(text, [Block(BlockKind.PARAGRAPH, 0, len(text))], marks).text
    assert made == ("See the [\\[old\\] lease \\<b>](<https://example.org/l%20(1)>) here, or <https://example.org/a>.")


def test_headers_footers_and_deletions_are_no_part_of_markdown() -> None:
    page = PageBuilder(1)
    page.add(BlockKind.PAGE_HEADER, "Annual report")
    page.add(BlockKind.PARAGRAPH, "Kept.")
    page.add(BlockKind.DELETION, "Taken out.")
    page.add(BlockKind.COMMENT, "Ada: why?\nreally?")
    page.add(BlockKind.HEADING, "Costs", level=2, hidden=True)
    page.add(BlockKind.PAGE_FOOTER, "7")
    built = page.build()
    made = page_markdown(built.text, built.blocks).text
    assert made == "Kept.\n\n> **Comment:** Ada: why?\n> really?\n\n## Costs *(hidden)*"


def test_a_table_over_a_page_break_is_one_table() -> None:
    rows = (("Port", "Depth"), ("Ayr", "4 m"))
    whole = "\n".join(" | ".join(row) for row in rows)
    table = Block(BlockKind.TABLE, 0, len(whole), rows=rows)
    first = page_markdown(whole, [table])
    assert first.ends_in_table
    second = page_markdown(whole, [replace(table, continues=True)], after_table=True)
    assert second.goes_on
    assert f"{first.text}\n{second.text}" == (
        "| Port | Depth |\n| --- | --- |\n| Ayr | 4 m |\n| Port | Depth |\n| Ayr | 4 m |"
    )
    assert not page_markdown(whole, [replace(table, continues=True)]).goes_on


def test_table_escapes_pipes_and_fills_rows() -> None:
    assert table_markdown((("a|b", "c\nd"), ("1",))) == "| a\\|b | c d |\n| --- | --- |\n| 1 |  |"
    assert table_markdown(()) == ""


@pytest.mark.parametrize("number", ["0", "-1", "2147483648", "99999999999999999999999999"])
@pytest.mark.parametrize("part", ["", "/image"])
def test_page_that_cannot_be_is_404(client: httpx.Client, report: str, number: str, part: str) -> None:
    assert_problem(client.get(f"/v1/documents/{report}/pages/{number}{part}"), 404, "page_not_found")


def test_tag_of_json_content_changes_with_the_title(client: httpx.Client) -> None:
    document_id = ingest(client, "titled.txt", b"A text with a title.")
    path = f"/v1/documents/{document_id}/content"
    tags = {form: client.get(path, params={"format": form}).headers["etag"] for form in ("json", "text")}
    client.patch(f"/v1/documents/{document_id}", json={"title": "Another title"})
    fresh = client.get(path, params={"format": "json"}, headers={"If-None-Match": tags["json"]})
    assert (fresh.status_code, fresh.json()["title"]) == (200, "Another title")
    text = client.get(path, params={"format": "text"}, headers={"If-None-Match": tags["text"]})
    assert text.status_code == 304


def test_head_of_an_original_has_its_length_and_no_body(client: httpx.Client, report: str) -> None:
    head = client.head(f"/v1/documents/{report}/file")
    assert (head.status_code, head.content) == (200, b"")
    assert int(head.headers["content-length"]) == (DATA / "report.pdf").stat().st_size
