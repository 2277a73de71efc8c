"""The problems of files that break their parser or cost more than they may, in words."""

from __future__ import annotations

import errno

from services.content import Limits
from services.errors import Problem


def memory_problem(memory_bytes: int) -> Problem:
    """The problem of a file whose parsing asked for more memory than it may."""
    return Problem(
        "TooLarge",
        "parse_memory_limit",
        f"Parsing this file took more than {memory_bytes // 1024**2} MB of memory. "
        "Split the file, or raise DOCATLAS_PARSE_MEMORY_BYTES.",
    )


def output_problem(max_bytes: int) -> Problem:
    """The problem of a file whose parsing wrote more than it may."""
    return Problem(
        "TooLarge",
        "parse_output_limit",
        f"Parsing this file wrote more than {max_bytes // 1024**2} MB of text and pictures. "
        "Split the file, switch off `extract_images`, or raise DOCATLAS_PARSE_OUTPUT_BYTES.",
    )


def problem_of(error: Exception, limits: Limits) -> Problem:
    """The problem of a file on which a parser failed with an exception that nobody expected."""
    if isinstance(error, RecursionError):
        return Problem(
            "UnreadableDocument",
            "nested_too_deep",
            "The file nests its parts too deep to be read. Save it again from the program that made it.",
        )
    number = error.errno if isinstance(error, OSError) else None
    if number == errno.ENOMEM:
        return memory_problem(limits.memory_bytes)
    if number == errno.EFBIG:
        return output_problem(limits.max_output_bytes)
    if number in (errno.EMFILE, errno.ENFILE):
        return Problem(
            "TooLarge",
            "parse_open_files_limit",
            "Parsing this file opened more files at a time than it may. Split the file.",
        )
    return Problem(
        "UnreadableDocument",
        "parser_failed",
        "The file could not be parsed; it is probably damaged. Save it again from the program that made it.",
    )
