"""Turns bytes of text into characters.

The encoding is found out, and what cannot be stored is taken out.
"""

from __future__ import annotations

import codecs
import re

_ODD_IN_CP1252 = re.compile(r"(?<=[^\W\d_])[‚„†‡ˆ‰‹›˜™¡¢£¤¥¦§¨©«¬®¯°±²³´¶¸¹»¼½¾¿×÷](?=[^\W\d_])")

_BOMS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
"""UTF-32 stands before UTF-16, whose little-endian mark is the beginning of UTF-32's."""

_CONTROLS = bytes(c for c in range(32) if c not in b"\t\n\r\f\b\x1b") + b"\x7f"
_MAX_CONTROLS_IN_UTF8 = 0.3
_MAX_CONTROLS_ELSE = 0.02
"""Share of control bytes above which data are not text. Source: a third is the rule of Perl's `-T`; compressed and
encrypted data hold about a tenth of them and are no valid UTF-8, which leaves the second figure five-fold room."""

_SNIFF_BYTES = 262_144
_LITTLE_EVIDENCE = 4
"""Bytes above 127 below which no statistics tell encodings apart; Windows-1252 is then the likeliest by far.
Source: W3Techs' survey of encodings; browsers fall back to it too (WHATWG Encoding, section 4.2)."""

_WIDE = ["utf_16", "utf_16_le", "utf_16_be", "utf_32", "utf_32_le", "utf_32_be", "utf_7", "cp037", "cp500", "cp1026"]
_WESTERN = ("cp1252", "latin_1", "iso8859_15")
_WORDS_OF_RARE = (
    "cp437 cp720 cp737 cp775 cp850 cp852 cp857 cp858 cp860 cp861 cp863 cp865 hp_roman8 mac_roman "
    "mac_latin2 mac_iceland  mac_turkish mac_croatian mac_romanian iso8859_3 iso8859_4 iso8859_10 "
    "iso8859_13 iso8859_14 iso8859_16 cp1257 cp1258 "
)
_RARE = frozenset(_WORDS_OF_RARE.split())
_LATIN = _RARE | {*_WESTERN, "cp1250", "cp1254", "iso8859_2", "iso8859_9"}
"""Latin encodings whose letters with accents lie where Windows-1252 has its own: statistics often tie between them."""

_NOT_STORED = re.compile("[\x00-\x08\x0e-\x1f\x7f\ufffe\uffff]")
_ENCODED_SURROGATE = re.compile(rb"\xed[\xa0-\xbf][\x80-\xbf]")
"""Half of a UTF-16 pair written as UTF-8 (CESU-8), which no other encoding would have so often."""
_SURROGATE = re.compile("[\ud800-\udfff]")
_ALIASES = {"ascii": "cp1252", "iso-8859-1": "cp1252", "latin-1": "cp1252", "latin1": "cp1252", "us-ascii": "cp1252",
            "gb2312": "gb18030", "gbk": "gb18030", "shift_jis": "cp932", "shift-jis": "cp932", "x-sjis": "cp932",
            "sjis": "cp932", "euc-kr": "cp949", "ks_c_5601-1987": "cp949", "iso-8859-9": "cp1254",
            "iso-8859-8-i": "iso-8859-8", "big5": "big5hkscs", "windows-31j": "cp932"}  # fmt: skip
"""Names that files carry, to the superset that browsers read them with. Source: WHATWG Encoding, section 4.2."""


def clean_text(text: str) -> str:
    """`text` with newlines as `\\n`, without control characters, and with U+FFFD for lone surrogates.

    Vertical tabs and form feeds become newlines; the escape sequences of terminals lose only their escape.
    """
    if "\r" in text:
        text = text.replace("\r\n", "\n").replace("\r", "\n")
    if "\x0b" in text or "\x0c" in text:
        text = text.replace("\x0b", "\n").replace("\x0c", "\n")
    text = _NOT_STORED.sub("", text)
    return text if text.isascii() else _SURROGATE.sub("\ufffd", text)


def decode_text(data: bytes, declared: str = "") -> tuple[str, str]:
    """(cleaned text, encoding). A byte order mark wins, then strict UTF-8, then `declared`, then what fits best.

    Bytes that do not fit become U+FFFD. Python's name of the encoding is given.
    """
    for mark, encoding in _BOMS:
        if data.startswith(mark):
            return clean_text(data[len(mark) :].decode(encoding, "replace")), encoding
    wide = wide_encoding(data[:_SNIFF_BYTES])
    if wide:
        return clean_text(data.decode(wide, "replace")), wide
    try:
        return clean_text(data.decode("utf-8")), "utf-8"
    except UnicodeDecodeError:
        encoding = _declared_codec(declared, data) or _guess_encoding(data)
    return clean_text(data.decode(encoding, "replace")), encoding


def looks_like_text(sample: bytes) -> bool:
    """True when `sample` (the beginning of a file and perhaps more of it) can be text in some encoding."""
    if any(sample.startswith(mark) for mark, _ in _BOMS) or wide_encoding(sample):
        return True
    share = 1 - len(sample.translate(None, _CONTROLS)) / max(1, len(sample))
    if share <= _MAX_CONTROLS_ELSE:
        return True
    return share <= _MAX_CONTROLS_IN_UTF8 and _is_utf8(sample)


def wide_encoding(sample: bytes) -> str:
    """`utf-16-le`, `utf-16-be`, `utf-32-le` or `utf-32-be` by the mark or the places of NUL bytes; else empty."""
    for mark, encoding in _BOMS[1:]:
        if sample.startswith(mark):
            return encoding
    usable = len(sample) - len(sample) % 4
    if usable < 4 or 0 not in sample:
        return ""
    columns = [sample[place:usable:4].count(0) / (usable // 4) for place in range(4)]
    if columns[2] > 0.9 and columns[3] > 0.9 and columns[0] < 0.2:
        return _if_readable(sample[:usable], "utf-32-le")
    if columns[0] > 0.9 and columns[1] > 0.9 and columns[3] < 0.2:
        return _if_readable(sample[:usable], "utf-32-be")
    even, odd = (columns[0] + columns[2]) / 2, (columns[1] + columns[3]) / 2
    if max(even, odd) < 0.4 and sample.isascii():
        return ""  # stray NULs in ASCII; in UTF-16 every second byte would be one
    if odd > 0.005 and odd > 8 * even:
        return _if_readable(sample[:usable], "utf-16-le")
    if even > 0.005 and even > 8 * odd:
        return _if_readable(sample[:usable], "utf-16-be")
    return ""


def _if_readable(sample: bytes, encoding: str) -> str:
    """`encoding` where nearly all that it makes of `sample` is printable."""
    text = sample.decode(encoding, "replace")
    odd = sum(1 for c in text[:20_000] if not (c.isprintable() or c in "\t\r\n"))
    return encoding if odd <= 0.02 * min(len(text), 20_000) else ""


def _is_utf8(sample: bytes) -> bool:
    try:
        codecs.getincrementaldecoder("utf-8")("strict").decode(sample)
    except UnicodeDecodeError:
        return False
    return True


def _declared_codec(declared: str, data: bytes) -> str:
    name = declared.strip().strip("\"'").lower()
    name = _ALIASES.get(name, name)
    try:
        codec = codecs.lookup(name) if name else None
    except (LookupError, ValueError):
        return ""
    if codec is None or not getattr(codec, "_is_text_encoding", True) or codec.name.startswith(("utf-16", "utf-32")):
        return ""
    damaged = data[:_SNIFF_BYTES].decode(codec.name, "replace").count("\ufffd")
    return codec.name if damaged <= max(4, len(data[:_SNIFF_BYTES]) // 200) else ""


def _guess_encoding(data: bytes) -> str:
    sample = _sample(data)
    broken = sample.decode("utf-8", "replace")
    multibyte = sum(1 for c in broken if c > "\x7f" and c != "\ufffd")
    encoded_surrogates = sum(map(len, _ENCODED_SURROGATE.findall(sample)))
    high = sum(1 for byte in sample if byte > 127)
    if multibyte > 8 * broken.count("\ufffd") or 4 * encoded_surrogates > high:
        return "utf-8"
    from charset_normalizer import from_bytes

    matches = from_bytes(sample, cp_exclusion=_WIDE, preemptive_behaviour=False)
    best = matches.best()
    if best is None or high < _LITTLE_EVIDENCE:
        return "cp1252"
    if best.encoding in _LATIN and _is_plausible_cp1252(sample):
        rivals = [match for match in matches if match.encoding in _WESTERN]
        if best.encoding in _RARE or any(m.chaos <= best.chaos and m.coherence >= best.coherence - 0.1 for m in rivals):
            return "cp1252"
    name = best.encoding.replace("_", "-")
    return _ALIASES.get(name, name)


def _is_plausible_cp1252(sample: bytes) -> bool:
    """True when `sample` is valid Windows-1252 and hardly a sign stands inside a word that has no business there."""
    try:
        text = sample.decode("cp1252")
    except UnicodeDecodeError:
        return False
    return 20 * len(_ODD_IN_CP1252.findall(text)) <= sum(1 for c in text if c > "\x7f")


def _sample(data: bytes) -> bytes:
    """Lines with bytes above 127, up to a bound: what is ASCII says nothing about the encoding."""
    if len(data) <= _SNIFF_BYTES:
        return data
    telling = b"\n".join(line for line in data[: 16 * _SNIFF_BYTES].split(b"\n") if not line.isascii())
    return telling[:_SNIFF_BYTES] or data[:_SNIFF_BYTES]
