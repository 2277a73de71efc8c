"""Whether docutils may be given a text: some of its steps take quadratic time, and substitutions multiply text."""

from __future__ import annotations

import re

MAX_COST = 300_000_000
"""Length of a paragraph times the signs in it that may begin markup, over all paragraphs.

Source: 10,000 unmatched asterisks in a paragraph of 30,000 characters, which are this, took docutils 0.22 four seconds;
the largest paragraphs of the Linux kernel's manuals make a thousandth of it."""

_MAX_SUBSTITUTED = 3_000_000
"""Characters that substitutions may put in."""

_SMALL = 4_000
_ROUNDS = 40
_PARAGRAPH_END = re.compile(r"\n[ \t]*\n")
_SUBSTITUTION = re.compile(r"^[ \t]*\.\.[ \t]+\|([^|\n]{1,200})\|([^\n]*(?:\n[ \t]+\S[^\n]*)*)", re.M)
_USE = re.compile(r"\|([^|\n]{1,200})\|")


def is_cheap(text: str) -> bool:
    """True for a text that docutils reads in a time that its length explains."""
    cost = 0
    for paragraph in _PARAGRAPH_END.split(text):
        if len(paragraph) > _SMALL:
            signs = sum(paragraph.count(sign) for sign in "*`_")
            if paragraph.lstrip()[:1] not in ("+", "|"):  # the bars of a table begin nothing
                signs += paragraph.count("|")
            else:
                cost += sum(len(line) * line.count("|") for line in paragraph.split("\n") if len(line) > _SMALL)
            cost += len(paragraph) * signs
            if cost > MAX_COST:
                return False
    return "|" not in text or _is_short_substituted(text)


def _is_short_substituted(text: str) -> bool:
    defined = {_folded(name): body for name, body in _SUBSTITUTION.findall(text)}
    if not defined:
        return True
    uses = {name: [_folded(use) for use in _USE.findall(body)] for name, body in defined.items()}
    everywhere = [name for name in map(_folded, _USE.findall(text)) if name in defined]
    sizes = {name: len(body) for name, body in defined.items()}
    for _ in range(_ROUNDS):
        if sum(sizes[name] for name in everywhere) > _MAX_SUBSTITUTED:
            return False
        grown = {
            name: len(body) + sum(min(sizes.get(use, 0), _MAX_SUBSTITUTED) for use in uses[name])
            for name, body in defined.items()
        }
        if grown == sizes:
            break
        sizes = grown
    return True


def _folded(name: str) -> str:
    return " ".join(name.split()).lower()
