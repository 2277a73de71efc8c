"""Formulas of Office (OMML) and MathML as one line of text.

Source: Unicode Technical Note 28 (linear format) for order and operators; powers and indices are written with the
raised and lowered characters of Unicode where it has them all, which reads best and compares as the plain ones do.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

_RAISED = dict(
    zip("0123456789+-=()abcdefghijklmnoprstuvwxyz−", "⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻⁼⁽⁾ᵃᵇᶜᵈᵉᶠᵍʰⁱʲᵏˡᵐⁿᵒᵖʳˢᵗᵘᵛʷˣʸᶻ⁻", strict=True)
)
_LOWERED = dict(zip("0123456789+-=()aehijklmnoprstuvx−", "₀₁₂₃₄₅₆₇₈₉₊₋₌₍₎ₐₑₕᵢⱼₖₗₘₙₒₚᵣₛₜᵤᵥₓ₋", strict=True))
_MAX_DEPTH = 40
"""Levels of one formula inside each other; what lies deeper is given without its structure."""

_LEFT_OUT = frozenset(("annotation", "annotation-xml", "rPr", "ctrlPr", "del", "moveFrom", "instrText"))


def raised(text: str) -> str:
    """`text` as a power."""
    return _moved(text, _RAISED, "^")


def lowered(text: str) -> str:
    """`text` as an index."""
    return _moved(text, _LOWERED, "_")


def _moved(text: str, table: dict[str, str], sign: str) -> str:
    text = text.strip()
    if text and all(c in table for c in text):
        return "".join(table[c] for c in text)
    return f"{sign}{_grouped(text)}" if text else ""


def _grouped(text: str) -> str:
    text = text.strip()
    return text if len(text) <= 1 or text.isalnum() or (text[0] == "(" and text[-1] == ")") else f"({text})"


def omml_text(formula: Any) -> str:
    """The text of an `m:oMath` element."""
    return _read(formula, 0, _OMML)


def mathml_text(formula: Any) -> str:
    """The text of a `math` element; its source in another notation is left out."""
    return " ".join(_read(formula, 0, _MATHML).split())


def _local(element: Any) -> str:
    return element.tag.rpartition("}")[2] if isinstance(element.tag, str) else ""


def _read(element: Any, depth: int, kinds: dict[str, Any]) -> str:
    if depth > _MAX_DEPTH:
        return "".join(element.itertext())
    name = _local(element)
    read = kinds.get(name)
    if read is not None:
        return str(read(element, depth))
    if name in ("t", "mi", "mn", "mo", "mtext", "ms"):
        return "".join(element.itertext())
    return "".join(_parts(element, depth, kinds))


def _parts(element: Any, depth: int, kinds: dict[str, Any]) -> Iterator[str]:
    for item in element:
        name = _local(item)
        if name and name not in _LEFT_OUT and not (kinds is _OMML and name.endswith("Pr")):
            yield _read(item, depth + 1, kinds)


def _named(element: Any, name: str, depth: int) -> str:
    found = next((item for item in element if _local(item) == name), None)
    return "" if found is None else _read(found, depth + 1, _OMML)


def _property(element: Any, holder: str, name: str, default: str) -> str:
    """`m:val` of a property, such as the character of a sum.

    The default where it is not set.
    """
    for properties in element:
        if _local(properties) == holder:
            for item in properties:
                if _local(item) == name:
                    return next((str(value) for key, value in item.attrib.items() if key.endswith("val")), "")
    return default


def _fraction(top: str, bottom: str) -> str:
    return f"{_grouped(top)}/{_grouped(bottom)}"


def _omml_nary(element: Any, depth: int) -> str:
    sign = _property(element, "naryPr", "chr", "∫")
    limits = lowered(_named(element, "sub", depth)) + raised(_named(element, "sup", depth))
    return f"{sign}{limits} {_named(element, 'e', depth)}"


def _omml_delimited(element: Any, depth: int) -> str:
    inside = [_read(item, depth + 1, _OMML) for item in element if _local(item) == "e"]
    begin, end = _property(element, "dPr", "begChr", "("), _property(element, "dPr", "endChr", ")")
    return begin + _property(element, "dPr", "sepChr", "|").join(inside) + end


def _omml_root(element: Any, depth: int) -> str:
    degree = _named(element, "deg", depth)
    return f"{raised(degree)}√{_grouped(_named(element, 'e', depth))}"


def _omml_accent(element: Any, depth: int) -> str:
    return _named(element, "e", depth) + _property(element, "accPr", "chr", "\u0302")


def _omml_matrix(element: Any, depth: int) -> str:
    rows = [
        " & ".join(_read(cell, depth + 2, _OMML) for cell in row if _local(cell) == "e")
        for row in element
        if _local(row) == "mr"
    ]
    return " ; ".join(rows)


def _omml_lines(element: Any, depth: int) -> str:
    return "\n".join(_read(item, depth + 1, _OMML) for item in element if _local(item) == "e")


_OMML: dict[str, Any] = {
    "sSup": lambda e, d: _named(e, "e", d) + raised(_named(e, "sup", d)),
    "sSub": lambda e, d: _named(e, "e", d) + lowered(_named(e, "sub", d)),
    "sSubSup": lambda e, d: _named(e, "e", d) + lowered(_named(e, "sub", d)) + raised(_named(e, "sup", d)),
    "sPre": lambda e, d: lowered(_named(e, "sub", d)) + raised(_named(e, "sup", d)) + _named(e, "e", d),
    "f": lambda e, d: _fraction(_named(e, "num", d), _named(e, "den", d)),
    "nary": _omml_nary,
    "d": _omml_delimited,
    "rad": _omml_root,
    "acc": _omml_accent,
    "m": _omml_matrix,
    "eqArr": _omml_lines,
    "limLow": lambda e, d: f"{_named(e, 'e', d)}_{_grouped(_named(e, 'lim', d))}",
    "limUpp": lambda e, d: f"{_named(e, 'e', d)}^{_grouped(_named(e, 'lim', d))}",
    "func": lambda e, d: f"{_named(e, 'fName', d)} {_named(e, 'e', d)}",
}


_SPACED = frozenset("=<>≤≥≠≈∈→⇒⇔∪∩")
"""Operators with space around them, as the operator dictionary of MathML has it."""


def _children(element: Any, depth: int) -> list[str]:
    found = [_read(item, depth + 1, _MATHML) for item in element if _local(item) and _local(item) not in _LEFT_OUT]
    return [*found, "", "", ""]


def _pair(element: Any, depth: int, join: Callable[[str, str], str]) -> str:
    first, second = _children(element, depth)[:2]
    return join(first, second)


def _mathml_row(element: Any, depth: int) -> str:
    return "".join(_parts(element, depth, _MATHML))


def _mathml_scripts(element: Any, depth: int) -> str:
    base, sub, sup = _children(element, depth)[:3]
    return base + lowered(sub) + raised(sup)


def _mathml_table(element: Any, depth: int) -> str:
    return " ; ".join(" & ".join(filter(None, _children(row, depth + 1))) for row in element)


_MATHML: dict[str, Any] = {
    "msup": lambda e, d: _pair(e, d, lambda base, script: base + raised(script)),
    "msub": lambda e, d: _pair(e, d, lambda base, script: base + lowered(script)),
    "msubsup": _mathml_scripts,
    "munderover": _mathml_scripts,
    "munder": lambda e, d: _pair(e, d, lambda base, script: base + lowered(script)),
    "mover": lambda e, d: _pair(e, d, lambda base, script: base + raised(script)),
    "mfrac": lambda e, d: _pair(e, d, _fraction),
    "msqrt": lambda e, d: f"√{_grouped(_mathml_row(e, d))}",
    "mroot": lambda e, d: _pair(e, d, lambda base, degree: f"{raised(degree)}√{_grouped(base)}"),
    "mtable": _mathml_table,
    "mo": lambda e, d: f" {text} " if (text := "".join(e.itertext()).strip()) in _SPACED else text,
}
