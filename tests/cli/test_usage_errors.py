"""A command line that cannot be understood is one line on stderr, and exit code 2."""

from __future__ import annotations

import re

import pytest

from cli.main import main


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("serv",), "No such command 'serv'. Did you mean 'serve'"),
        (("jobs", "lst"), "No such command 'lst'. Did you mean 'list'?"),
        (("--nope",), "No such option: --nope."),
        (("documents", "list", "--limt", "4"), "No such option: --limt (Possible options: --limit)."),
        (("ingest",), "Missing argument 'paths'."),
        (("documents", "show"), "Missing argument 'document_id'."),
        (("documents", "show", "a", "b"), "Got unexpected extra argument"),
        (("documents", "list", "--limit", "0"), "Invalid value for '--limit': "),
        (("documents", "list", "--limit", "many"), "Invalid value for '--limit': "),
        (("documents", "list", "--limit", "0", "--json"), "Invalid value for '--limit': "),
        (("serve", "--port"), "Option '--port' requires an argument."),
        (("serve", "--port", "70000"), "Invalid value for '--port': "),
        (("search", "word", "--mode", "guess"), "'guess' is not one of 'hybrid', 'semantic', 'keyword'."),
        (("ingest", "a.txt", "--metadata", "{x"), "--metadata is no JSON: "),
        (("ingest", "a.txt", "--metadata", "[]"), "--metadata must be a JSON object"),
        (("db", "copy"), "name at least one database with --from or --to"),
        (("users", "add"), "Missing argument 'email'."),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_it_is_one_line_that_says_where_the_help_is(
    arguments: tuple[str, ...], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    printed = capsys.readouterr()
    assert (ended.value.code, printed.out) == (2, "")
    assert re.fullmatch(r"error \[usage_error\]: .+[.?] See `docatlas[a-z ]* --help`\.\n", printed.err)
    assert said in printed.err


@pytest.mark.parametrize("arguments", [(), ("documents",), ("jobs",)])
def test_a_group_without_a_command_shows_its_help(
    arguments: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    printed = capsys.readouterr()
    assert ended.value.code == 2
    assert "Usage" in printed.out
    assert printed.err == ""


def test_help_and_version_end_with_0(capsys: pytest.CaptureFixture[str]) -> None:
    for arguments in (("--help",), ("serve", "--help"), ("--version",)):
        with pytest.raises(SystemExit) as ended:
            main(arguments)
        assert not ended.value.code
        assert capsys.readouterr().err == ""
