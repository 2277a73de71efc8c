"""A format is one row: what the row says is so, and nothing about formats is written down in a second place."""

from __future__ import annotations

import ast
import functools
import inspect
import re
import tomllib
from collections.abc import Iterator

import pytest

from services.content import Limits
from services.formats.detection.detect import detect_format
from services.formats.registry import Format
from services.formats.spec import Group
from tests.support.paths import DATA, ROOT

REGISTRY = "services/formats/registry.py"


@pytest.mark.parametrize("format", Format)
def test_every_format_is_described_and_read_by_a_module(format: Format) -> None:
    row, described = format.spec, format.spec.described
    assert row.title
    assert described.reads.endswith(".")
    assert described.left_out.endswith(".")
    assert described.pages.endswith(".")
    assert row.media_type
    assert row.extensions
    assert set(described.libraries) <= _dependencies()


@functools.cache
def _dependencies() -> frozenset[str]:
    """Names of the distributions that the product needs to run."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return frozenset(re.split(r"[^A-Za-z0-9_.-]", line, maxsplit=1)[0] for line in project["dependencies"])


@pytest.mark.parametrize("format", Format)
def test_every_reader_and_renderer_is_found_and_takes_what_it_is_given(format: Format) -> None:
    """mypy holds a function to its annotations, and this holds the annotations to what the row promises."""
    read = format.spec.extract
    assert _parameters(read) == ["Upload", "ExtractContext"]
    assert inspect.get_annotations(read)["return"] == "Iterator[Part]"
    assert inspect.isgeneratorfunction(read)
    render = format.spec.render
    if render is not None:
        assert _parameters(render) == ["Path", "int", "int", "str | None", "Limits"]
        assert inspect.get_annotations(render)["return"] == "Image"


def _parameters(function: object) -> list[str]:
    """The annotations of a function's parameters, of which none may be given by name alone."""
    assert inspect.isfunction(function)
    parameters = inspect.signature(function).parameters.values()
    assert all(parameter.kind is parameter.POSITIONAL_OR_KEYWORD for parameter in parameters)
    return [str(parameter.annotation) for parameter in parameters]


@functools.cache
def _samples() -> dict[Format, list[str]]:
    """The samples by the format that they are detected as."""
    found: dict[Format, list[str]] = {}
    for path in sorted(DATA.iterdir()):
        if path.is_file() and path.suffix != ".py":
            found.setdefault(detect_format(path, path.name, Limits()).format, []).append(path.name)
    return found


@pytest.mark.parametrize("format", Format)
def test_every_format_has_the_sample_that_its_row_names(format: Format) -> None:
    assert format.spec.sample in _samples()[format]


def test_rows_are_told_apart_by_word_title_sample_and_extension() -> None:
    rows = [format.spec for format in Format]
    for values in ([row.word for row in rows], [row.title for row in rows], [row.sample for row in rows]):
        assert len(set(values)) == len(rows)
    extensions = [extension for row in rows for extension in row.extensions]
    assert len(set(extensions)) == len(extensions)
    assert all(extension == extension.lower().strip(". ") for extension in extensions)
    assert {row.group for row in rows} == set(Group)


def test_a_word_gives_its_format_and_another_word_gives_none() -> None:
    assert all(Format(format.spec.word) is format and format == format.spec.word for format in Format)
    with pytest.raises(ValueError, match="not a valid Format"):
        Format("nothing")


def test_nothing_but_the_registry_is_a_table_of_formats() -> None:
    """A second table would have to be kept in step with the rows by hand: put what it says into the row."""
    tables = [
        f"{path.relative_to(ROOT)}:{line}"
        for folder in ("services", "api", "cli")
        for path in sorted((ROOT / folder).rglob("*.py"))
        if path != ROOT / REGISTRY
        for line in _tables_of_formats(ast.parse(path.read_text(encoding="utf-8")))
    ]
    assert tables == []


def _tables_of_formats(module: ast.Module) -> Iterator[int]:
    """Lines of the literals outside of functions that hold three formats, or as keys four of their words."""
    words = {format.value for format in Format}
    for node in _outside_functions(module):
        if isinstance(node, ast.Dict):
            held: list[ast.expr] = [key for key in node.keys if key is not None]
        elif isinstance(node, ast.Set | ast.Tuple | ast.List):
            held = [element.elts[0] if isinstance(element, ast.Tuple) else element for element in node.elts]
        else:
            continue
        members = sum(
            isinstance(item, ast.Attribute) and isinstance(item.value, ast.Name) and item.value.id == "Format"
            for item in held
        )
        keys = {item.value for item in held if isinstance(item, ast.Constant)} if isinstance(node, ast.Dict) else set()
        if members >= 3 or len(keys & words) >= 4:  # three words are also the forms in which a document is exported
            yield node.lineno


def _outside_functions(node: ast.AST) -> Iterator[ast.AST]:
    for child in ast.iter_child_nodes(node):
        if not isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            yield child
            yield from _outside_functions(child)


@pytest.mark.parametrize(
    "source",
    [
        "T = {Format.PDF: 1, Format.DOCX: 2, Format.ZIP: 3}",
        "T: Mapping[Format, int] = MappingProxyType({Format.PDF: 1, Format.DOCX: 2, Format.ZIP: 3})",
        "T = frozenset({Format.PDF, Format.DOCX, Format.ZIP})",
        "T = ((Format.PDF, 1), (Format.DOCX, 2), (Format.ZIP, 3))",
        "class C:\n    T = [Format.PDF, Format.DOCX, Format.ZIP]",
        "T = {'pdf': 1, 'docx': 2, 'zip': 3, 'xml': 4}",
    ],
)
def test_a_second_table_is_seen(source: str) -> None:
    assert list(_tables_of_formats(ast.parse(source)))


@pytest.mark.parametrize(
    "source",
    ["T = {Format.PDF, Format.ZIP}", "def f():\n    return {Format.PDF, Format.DOCX, Format.ZIP}", "T = {'a': 1}"],
)
def test_what_is_no_table_of_formats_is_left_alone(source: str) -> None:
    assert not list(_tables_of_formats(ast.parse(source)))
