"""Gives an extractor's pages, or those that an interrupted run has stored.

Pages that are not asked for are left out.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from services.content import Limits, Page
from services.errors import TooLarge
from services.formats.base import ExtractContext


def give_pages(pages: Iterable[Page], context: ExtractContext) -> Iterator[Page]:
    """Those of `pages` that the options ask for.

    One that is known is given as it was stored.
    """
    for page in pages:
        if context.options.wants_page(page.number):
            yield context.known_pages.get(page.number, page)


def wants_pictures(number: int, context: ExtractContext) -> bool:
    """True when the pictures of page `number` are still to be given."""
    options = context.options
    return options.extract_images and options.wants_page(number) and number not in context.known_pages


def check_page_count(count: int, limits: Limits) -> None:
    """Raises TooLarge (`too_many_pages`)."""
    if count > limits.max_pages:
        raise TooLarge(
            f"The document has {count:,} pages; the limit is {limits.max_pages:,}. Split it.",
            code="too_many_pages",
            facts={"limit_pages": limits.max_pages},
        )
