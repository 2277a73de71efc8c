"""Counts the tokens of a text with a model's own tokenizer, or estimates them without one."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any

CountTokens = Callable[[str], int]

CHARS_PER_TOKEN = 4.0
"""Source: OpenAI, "What are tokens and how to count them": one token is about four characters."""


def token_counter(tokenizer: str | Path | None, *, framed: bool, otherwise: CountTokens) -> CountTokens:
    """A function that counts the tokens of a text by `tokenizer`, a `tokenizer.json`; without one, `otherwise`.

    `framed` counts the tokens that the model puts around each text too.
    """
    if tokenizer is None:
        return otherwise
    model = load_tokenizer(str(tokenizer))
    return lambda text: len(model.encode(text, add_special_tokens=framed).ids)


def count_words(text: str) -> int:
    """Words of `text`."""
    return len(text.split())


def quarter_of_characters(text: str) -> int:
    """Tokens of `text`, estimated by its length."""
    return math.ceil(len(text) / CHARS_PER_TOKEN)


@lru_cache(maxsize=4)
def load_tokenizer(path: str) -> Any:
    """The tokenizer of the file at `path`, which neither cuts nor fills up a text; loaded once a process."""
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(path)
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return tokenizer
