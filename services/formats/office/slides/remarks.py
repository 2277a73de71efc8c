"""What is said beside a slide: speaker notes and reviewers' comments."""

from __future__ import annotations

from services.formats.kit.xml import Element
from services.formats.office.drawing_text import plain_text
from services.formats.office.markup import children, first, local, text_at
from services.formats.office.package import OfficePackage
from services.formats.office.slides.layouts import placeholder_of
from services.formats.office.word.runs import alternative


def read_authors(package: OfficePackage, main: str) -> dict[str, str]:
    """Names of those who commented, by id.

    Both the ids of old comments (numbers) and of threaded ones (GUIDs).
    """
    names: dict[str, str] = {}
    for part in package.related(main, "commentAuthors", "authors"):
        for item in children(package.xml(part)):
            names[(item.get("id") or "").upper()] = item.get("name") or ""
    return names


def speaker_notes(package: OfficePackage, slide_part: str) -> str:
    """The notes to a slide.

    Its picture, number and date on the notes page are left out.

    Raises UnreadableDocument where the notes' part is damaged.
    """
    words: list[str] = []
    for part in package.related(slide_part, "notesSlide")[:1]:
        stack = [iter(children(first(package.xml(part), "cSld", "spTree")))]
        while stack:
            shape = next(stack[-1], None)
            if shape is None:
                stack.pop()
            elif local(shape) == "AlternateContent" and len(stack) < 50:
                stack.append(iter(children(alternative(shape))))
            elif local(shape) == "grpSp" and len(stack) < 50:
                stack.append(iter(children(shape)))
            elif local(shape) == "sp":
                placeholder = placeholder_of(shape)
                if placeholder is None or placeholder[0] in ("body", ""):
                    words.append(plain_text(first(shape, "txBody")))
    return "\n".join(word for word in words if word)


def comments(package: OfficePackage, slide_part: str, authors: dict[str, str]) -> list[str]:
    """The comments on a slide as `author: text`, replies behind what they answer.

    Raises UnreadableDocument where a comments' part is damaged.
    """
    found: list[str] = []
    for part in package.related(slide_part, "comments"):
        for comment in children(package.xml(part)):
            if local(comment) != "cm":
                continue
            found.append(_remark(comment, authors))
            found.extend(_remark(reply, authors) for reply in children(first(comment, "replyLst")))
    return [remark for remark in found if remark]


def _remark(comment: Element, authors: dict[str, str]) -> str:
    text = (text_at(comment, "text") or plain_text(first(comment, "txBody"))).strip()
    author = authors.get((comment.get("authorId") or "").upper(), "")
    return f"{author}: {text}" if author and text else text
