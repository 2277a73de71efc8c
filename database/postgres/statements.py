"""Cuts an SQL script into statements, as the Supabase command line does.

It keeps a migration as that list.
"""

from __future__ import annotations

import re

_TOKEN = re.compile(
    r"""
    (?P<comment>--[^\n]*)
    | (?P<quoted>'(?:[^']|'')*' | "(?:[^"]|"")*")
    | (?P<dollar>\$(?P<tag>\w*)\$.*?\$(?P=tag)\$)
    | (?P<block>/\*)
    | (?P<word>\w+)
    | (?P<end>;)
    | (?P<other>.)
    """,
    re.VERBOSE | re.DOTALL,
)
_BLOCK_EDGE = re.compile(r"/\*|\*/")


def split_statements(script: str) -> list[str]:
    """The statements of a script in their order.

    With the comments before and in them, without the semicolon and outer space. Semicolons in quotes, dollar quotes,
    comments, parentheses and `BEGIN ATOMIC ... END` end nothing. Source: supabase/cli, apps/cli-go/pkg/parser
    (`SplitAndTrim`): the same statements for every script that Postgres accepts, but for strings that hold an unpaired
    backslash escape.
    """
    statements: list[str] = []
    start = position = depth = atomic = 0
    last_word = ""
    while position < len(script):
        token = _TOKEN.match(script, position)
        assert token is not None  # `other` takes any character
        position = token.end()
        if token["block"]:
            position = _end_of_block(script, position)
        elif token["word"]:
            word = token["word"].upper()
            if (word == "ATOMIC" and last_word == "BEGIN") or (atomic and word == "CASE"):
                atomic += 1
            elif atomic and word == "END":
                atomic -= 1
            last_word = word
        elif token["other"] == "(":
            depth += 1
        elif token["other"] == ")":
            depth = max(0, depth - 1)
        elif token["end"] and depth == 0 and atomic == 0:
            _keep(statements, script[start:position])
            start = position
    _keep(statements, script[start:])
    return statements


def same_statements(one: list[str], other: list[str]) -> bool:
    """True when both are cut from the same script.

    By whatever version of either tool, and whatever its line ends.
    """
    return _joined(one) == _joined(other)


def _joined(statements: list[str]) -> str:
    return re.sub(r"\s*(;\s*)+", ";", ";".join(statements).replace("\r\n", "\n")).strip(";")


def _keep(statements: list[str], statement: str) -> None:
    trimmed = statement.rstrip(";").strip()
    if trimmed:
        statements.append(trimmed)


def _end_of_block(script: str, position: int) -> int:
    """Where the block comment ends whose start lies before `position`; they nest."""
    depth = 1
    for edge in _BLOCK_EDGE.finditer(script, position):
        depth += 1 if edge[0] == "/*" else -1
        if depth == 0:
            return edge.end()
    return len(script)
