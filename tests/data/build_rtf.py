"""Builds the RTF sample beside this file: `python -m tests.data.build_rtf`. Its words are the project's own."""

from __future__ import annotations

from pathlib import Path

from tests.data.build_samples import picture_bytes

HERE = Path(__file__).resolve().parent

LETTER = r"""{\rtf1\ansi\ansicpg1252\deff0\paperw11906\paperh16838
{\fonttbl{\f0\fswiss\fcharset0 Arial;}{\f1\fswiss\fcharset204 Arial Cyr;}}
{\stylesheet{\s0 Normal;}{\s1\outlinelevel0 heading 1;}{\s2 caption;}{\*\cs10 Default Paragraph Font;}}
{\*\revtbl{Unknown;}{Jo;}}
{\info{\title Letter to the board}{\author Ines Falk}{\keywords not shown}}
{\header\pard Harbour board\par}{\footer\pard Confidential\par}
\pard\plain\s1 Findings\par
\pard\plain The quay wall leans by 40\~mm \'96 caf\'e9, \u8364?450, \u-10179?\u-8704?.{\footnote\pard\plain After the
 board has met.}{\revised\revauth1  Seen in May.}{\deleted  Seen in June.}
{\*\atnid JO}{\*\atnauthor Jo}\chatn{\*\annotation
\pard\plain Measure again.}\par
\pard\plain{\f1 \'c4\'ee\'e3\'ee\'e2\'ee\'f0}\par
\pard\plain See {\field{\*\fldinst{HYPERLINK "https://example.org/plan"}}{\fldrslt{the plan}}} and {\v a secret}.\par
\pard\plain{\v Wholly hidden.}\par
{\listtext\pard\plain 1.\tab}\pard\plain\ls1\ilvl0 Drain the sluice\par
{\listtext\pard\plain \'b7\tab}\pard\plain\ls1\ilvl1 from the north\par
{\listtext\pard\plain (b)\tab}\pard\plain\ls1\ilvl0 Close the gate\par
\trowd\cellx3000\cellx6000\pard\plain\intbl Place\cell Depth\cell\row
\trowd\cellx3000\cellx6000\pard\plain\intbl North\par basin\cell 2.5\cell\row
\pard\plain{\*\shppict{\pict{\*\picprop{\sp{\sn wzDescription}{\sv Gauge}}}\pngblip\picw48\pich32
PICTURE}}{\nonshppict{\pict\wmetafile8 0100}}\par
\pard\plain\s2 Figure 1: The gauge\par
\pard\plain Before the break.\page After {\*\unknown not shown}it, {\i in \{braces\}}.\line New line.\par}
"""


def letter() -> bytes:
    """The sample."""
    digits = picture_bytes().hex()
    lines = "\n".join(digits[at : at + 128] for at in range(0, len(digits), 128))
    return LETTER.replace("PICTURE", lines).encode("ascii")


if __name__ == "__main__":
    (HERE / "letter.rtf").write_bytes(letter())
