"""What the control words of Rich Text Format mean.

Source: Rich Text Format Specification 1.9.1 (Microsoft, 2008).
"""

from __future__ import annotations

from enum import Enum, auto

from services.content import BlockKind


class Place(Enum):
    """Where the text of a group goes."""

    TEXT = auto()
    """Into the story that is being read: the body, or a note, a header, a remark."""
    NOWHERE = auto()
    FONTS = auto()
    STYLES = auto()
    AUTHORS = auto()
    TITLE = auto()
    AUTHOR = auto()
    FIELD_CODE = auto()
    PICTURE = auto()
    LABEL = auto()
    """The number or bullet of a list's item, as it is shown."""
    REMARK_AUTHOR = auto()
    PROPERTY_NAME = auto()
    PROPERTY_VALUE = auto()
    UNICODE_CHOICE = auto()
    """Holds the same text twice; the second time in Unicode."""


PLACES = {
    "fonttbl": Place.FONTS, "stylesheet": Place.STYLES, "revtbl": Place.AUTHORS, "title": Place.TITLE,
    "author": Place.AUTHOR, "fldinst": Place.FIELD_CODE, "pict": Place.PICTURE, "listtext": Place.LABEL,
    "pntext": Place.LABEL, "atnauthor": Place.REMARK_AUTHOR, "sn": Place.PROPERTY_NAME, "sv": Place.PROPERTY_VALUE,
    "upr": Place.UNICODE_CHOICE, "ud": Place.TEXT, "shppict": Place.TEXT, "shpinst": Place.TEXT,
    "shptxt": Place.TEXT, "picprop": Place.TEXT, "moMath": Place.TEXT, "moMathPara": Place.TEXT, "sp": Place.TEXT,
    "info": Place.NOWHERE, "fldrslt": Place.TEXT,
}  # fmt: skip

_WORDS_OF_NOWHERE = (
    "colortbl nonshppict shprslt nonesttables nesttableprops objdata objclass objname datafield themedata "
    "colorschememapping latentstyles datastore listtable listoverridetable rsidtbl generator xmlnstbl mmathPr "
    "atnid atnref atrfstart atrfend atndate atnparent atnicn ftnsep ftnsepc ftncn aftnsep aftnsepc aftncn "
    "bkmkstart bkmkend pgptbl filetbl creatim revtim printim buptim subject operator keywords comment doccomm "
    "hlinkbase category manager company template formfield panose falt fontemb blipuid docvar wgrffmtfilter pn "
    "pnseclvl passwordhash xe tc xmlopen xmlclose factoidname userprops oldcprops oldpprops oldtprops oldsprops "
    "mmathPict"
)
NOWHERE = frozenset(_WORDS_OF_NOWHERE.split())

STORIES = {
    "footnote": BlockKind.FOOTNOTE, "annotation": BlockKind.COMMENT,
    "header": BlockKind.PAGE_HEADER, "headerl": BlockKind.PAGE_HEADER, "headerr": BlockKind.PAGE_HEADER,
    "headerf": BlockKind.PAGE_HEADER, "footer": BlockKind.PAGE_FOOTER, "footerl": BlockKind.PAGE_FOOTER,
    "footerr": BlockKind.PAGE_FOOTER, "footerf": BlockKind.PAGE_FOOTER,
}  # fmt: skip
"""Destinations with text of their own, by what it is."""

CHARACTERS = {
    "tab": "\t", "line": "\n", "lbr": "\n", "emdash": "—", "endash": "–", "lquote": "‘", "rquote": "’",
    "ldblquote": "“", "rdblquote": "”", "bullet": "•", "emspace": "\u2003", "enspace": "\u2002", "qmspace": "\u2005",
    "~": "\u00a0", "_": "\u2011", "-": "", "zwj": "\u200d", "zwnj": "\u200c", "ltrmark": "\u200e",
    "rtlmark": "\u200f", "nestcell": " | ", "nestrow": "\n", "column": "\n", "softline": "\n",
}  # fmt: skip

CODE_PAGES = {77: "mac_roman", 128: "cp932", 129: "cp949", 130: "johab", 134: "gb18030", 136: "big5", 161: "cp1253",
              162: "cp1254", 163: "cp1258", 177: "cp1255", 178: "cp1256", 186: "cp1257", 204: "cp1251", 222: "cp874",
              238: "cp1250", 254: "cp437", 255: "cp850"}  # fmt: skip
"""Code pages by a font's character set; 0, 1 and 2 stand for that of the document."""

_SPECIAL = {0: "cp1252", 437: "cp437", 10000: "mac_roman", 10007: "mac_cyrillic", 10029: "mac_latin2", 65001: "utf-8",
            936: "gb18030", 1: "cp1252", 708: "cp1256", 709: "cp1256"}  # fmt: skip


def codec_of(page: int) -> str:
    """Python's name of a Windows code page; that of Western Europe where it has none."""
    import codecs

    name = _SPECIAL.get(page, f"cp{page}")
    try:
        codecs.lookup(name)
    except LookupError:
        return "cp1252"
    return name
