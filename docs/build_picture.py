"""Draws docs/images/cited-answer.png from a real server's answers: `python -m docs.build_picture`.

It uploads a scanned page, searches for a question with the real text model and OCR, and draws what the answer says: the
sentence that the words of the question stand in, the document and the page, and the sentence's box over the page.
"""

from __future__ import annotations

import base64
import io
import re
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

import resvg_py
from fastapi.testclient import TestClient
from PIL import Image

from api.app import create_app
from services.jobs.worker import Worker
from services.runtime import open_runtime
from services.settings import Settings

PICTURE = Path(__file__).with_name("images") / "cited-answer.png"
SCAN = Path(__file__).resolve().parents[1] / "tests" / "data" / "scanned.pdf"
QUESTION = "How much notice must be given to end the lease?"
PAGE_WIDTH = 800
COLOURS = 96
"""Of the picture. A scan and black text need few, and the file stays small."""

Json = Mapping[str, Any]
Box = Sequence[float]


def ask(client: TestClient) -> tuple[Json, Json, bytes]:
    """The best hit for the question, the page that it stands on, and the picture of that page."""
    reply = client.post("/v1/documents", files={"files": (SCAN.name, SCAN.read_bytes())})
    job = client.get(f"/v1/jobs/{reply.json()['data'][0]['job']['id']}", params={"wait": 60}).json()
    if job["status"] != "completed":
        raise RuntimeError(f"the scan was not read: {job['error']}")
    hit = client.post("/v1/search", json={"query": QUESTION, "k": 1}).json()["data"][0]
    page = client.get(f"/v1/documents/{hit['document']['id']}/pages/{hit['page']}").json()
    image = client.get(hit["page_image_url"], params={"width": PAGE_WIDTH})
    return hit, page, image.content


def cited_sentence(hit: Json) -> tuple[str, int]:
    """The sentence of the hit that holds most words of the question, and its offset in the hit's text."""
    text: str = hit["text"]
    sentences = [(found[0], found.start()) for found in re.finditer(r"[^.]+\.", text)]

    def highlighted(sentence: tuple[str, int]) -> int:
        start, end = sentence[1], sentence[1] + len(sentence[0])
        return sum(start <= one["char_start"] < end for one in hit["highlights"])

    best, offset = max(sentences, key=highlighted)
    return best.strip(), offset + len(best) - len(best.lstrip())


def boxes_of(hit: Json, page: Json, sentence: str, offset: int) -> list[Box]:
    """A box for each line of the sentence on the page, of the boxes of its words."""
    start = hit["spans"][0]["char_start"] - page["char_start"] + offset
    lines: list[Box] = []
    for word in page["words"]:
        if not start <= word["char_start"] < start + len(sentence):
            continue
        x0, y0, x1, y1 = word["box"]
        if lines and y0 < lines[-1][3]:
            last = lines[-1]
            lines[-1] = [min(last[0], x0), min(last[1], y0), max(last[2], x1), max(last[3], y1)]
        else:
            lines.append([x0, y0, x1, y1])
    return lines


def draw(hit: Json, page: Json, image: bytes) -> str:
    """The picture as SVG."""
    sentence, offset = cited_sentence(hit)
    scale = PAGE_WIDTH / page["width"]
    boxes = boxes_of(hit, page, sentence, offset)
    shown = min(page["height"] * scale, max(box[3] for box in boxes) * scale + 90, 520)
    marks = "".join(
        f'<rect x="{x0 * scale - 4:.1f}" y="{y0 * scale - 3:.1f}" width="{(x1 - x0) * scale + 8:.1f}" '
        f'height="{(y1 - y0) * scale + 6:.1f}" rx="3" fill="#ffd33d" fill-opacity=".35" stroke="#d4a300" '
        'stroke-width="2"/>'
        for x0, y0, x1, y1 in boxes
    )
    answer = "".join(
        f'<text x="0" y="{150 + 30 * number}" font-size="21">{escape(line)}</text>'
        for number, line in enumerate(_lines(f"“{sentence}” [1]", 38))
    )
    below = 150 + 30 * len(_lines(f"“{sentence}” [1]", 38))
    box = ", ".join(f"{number:.0f}" for number in _around(boxes))
    source = f"[1] {hit['document']['filename']}, page {hit['page']}"
    question = "".join(
        f'<text x="0" y="{30 + 28 * number}" font-size="21" font-weight="bold">{escape(line)}</text>'
        for number, line in enumerate(_lines(QUESTION, 36))
    )
    picture = base64.b64encode(_as_png(image)).decode()
    height = shown + 64
    return f"""\
<svg xmlns="http://www.w3.org/2000/svg" width="1360" height="{height:.0f}" font-family="DejaVu Sans, sans-serif">
<rect width="1360" height="{height:.0f}" fill="#f6f8fa" stroke="#d0d7de"/>
<svg x="32" y="32" width="{PAGE_WIDTH}" height="{shown:.0f}">
<rect width="{PAGE_WIDTH}" height="{shown:.0f}" fill="white"/>
<image width="{PAGE_WIDTH}" height="{page["height"] * scale:.0f}" href="data:image/png;base64,{picture}"/>{marks}
</svg>
<rect x="32" y="32" width="{PAGE_WIDTH}" height="{shown:.0f}" fill="none" stroke="#d0d7de"/>
<g transform="translate(868, 40)" fill="#1f2328">
<text x="0" y="0" font-size="15" fill="#59636e">Question</text>{question}
<text x="0" y="115" font-size="15" fill="#59636e">Answer, quoted</text>{answer}
<text x="0" y="{below + 20}" font-size="15" fill="#59636e">Source</text>
<text x="0" y="{below + 50}" font-size="18" fill="#0969da">{escape(source)}</text>
<text x="0" y="{below + 78}" font-size="15" fill="#59636e">box {box} in points, read by OCR</text>
</g>
</svg>"""


def _around(boxes: Sequence[Box]) -> Iterator[float]:
    yield from (min(box[0] for box in boxes), min(box[1] for box in boxes))
    yield from (max(box[2] for box in boxes), max(box[3] for box in boxes))


def _lines(text: str, width: int) -> list[str]:
    lines = [""]
    for word in text.split():
        if len(lines[-1]) + len(word) > width:
            lines.append("")
        lines[-1] = f"{lines[-1]} {word}".strip()
    return lines


def _as_png(image: bytes) -> bytes:
    buffer = io.BytesIO()
    Image.open(io.BytesIO(image)).convert("RGB").save(buffer, "PNG")
    return buffer.getvalue()


def main() -> None:
    """Asks a server in this process and writes the picture."""
    with tempfile.TemporaryDirectory() as folder:
        runtime = open_runtime(Settings(data_dir=Path(folder)))
        try:
            with Worker(runtime), TestClient(create_app(runtime), base_url="http://127.0.0.1") as client:
                svg = draw(*ask(client))
        finally:
            runtime.close()
    drawn = Image.open(io.BytesIO(bytes(resvg_py.svg_to_bytes(svg_string=svg)))).convert("RGB")
    PICTURE.parent.mkdir(exist_ok=True)
    drawn.quantize(COLOURS, dither=Image.Dither.NONE).save(PICTURE, optimize=True)


if __name__ == "__main__":
    main()
