"""Builds the samples of XML, reStructuredText, JSON, notebooks and SVG: `python -m tests.data.build_structured`.

All their words are the project's own.
"""

from __future__ import annotations

import base64
import json
import struct
from pathlib import Path

from tests.data.build_samples import picture_bytes

HERE = Path(__file__).resolve().parent

CATALOGUE = """<?xml version="1.0" encoding="ISO-8859-1"?>
<?xml-stylesheet href="https://example.org/shop.xsl" type="text/xsl"?>
<!DOCTYPE catalogue>
<!-- kept for the printer -->
<catalogue xmlns:dc="http://purl.org/dc/elements/1.1/" xml:lang="en-GB">
  <dc:title>Chandler's catalogue</dc:title>
  <dc:creator>Petra Gr\u00fcnwald</dc:creator>
  <section title="Rope &amp; line">
    <item id="r-12"><name>Mooring line</name><price currency="EUR">48.50</price>
      <note>Three-strand <em>nylon</em>, 12&#160;mm;<br/>sold by the coil.</note></item>
    <item id="r-14"><name>Heaving line</name><price currency="EUR">19.00</price></item>
  </section>
  <section title="Lights">
    <item id="l-01"><name>Anchor light</name><picture alt="A white lamp on a mast" href="lamp.png"/>
      <note><![CDATA[Visible for <2 miles> at night.]]></note></item>
  </section>
</catalogue>
"""

GUIDE = """=================
Pilot's guide
=================
:Author: Ines Falk
:Language: en

.. contents::

Entering the harbour
====================

Keep the *leading lights* in line and hold **two knots**. The `chart <https://example.org/chart>`_ shows
the ``dredged`` channel [1]_; see also |buoy|.

.. |buoy| replace:: the red buoy

#. Call the office.
#. Wait for a berth.

   - Bow first
   - Fenders out

Term
    What a term means.

.. warning:: The bar breaks in a northerly.

Depths
------

=======  =====
Basin    Depth
=======  =====
North    2.5 m
South    4.0 m
=======  =====

.. code-block:: python

    def fee(metres):
        return 3 * metres

The old hands say:

    Neaps follow springs
    by a week.

.. figure:: lamp.png
   :alt: A white lamp

   The anchor light

.. raw:: html

   <script>alert(1)</script>

.. include:: /etc/passwd

.. comment that nobody reads

.. [1] Dredged every spring.
"""

RECORDS = {
    "title": "Berths of the north basin",
    "survey": {"year": 2026, "by": "Ines Falk", "depth_m": 2.50, "tidal": True, "notes": None},
    "berths": [
        {"number": "N1", "length": 12, "boat": "Heron"},
        {"number": "N2", "length": 9.5, "boat": None},
        {"number": "N3", "length": 14, "boat": "Blue Wren"},
    ],
    "rules": [
        "Boats over twelve metres need a pilot, who has to be asked for a day before, by radio or at the office.",
        "No fires on the quay.",
    ],
    "soundings": [[0.0, 2.1], [5.0, 2.4]],
    "contacts": [{"name": "Office", "channels": [12, 16]}, {"name": "Pilot", "channels": []}],
}

EVENTS = """{"time": "2026-05-01T04:10:00Z", "berth": "N1", "event": "arrival", "draught": 1.80}
{"time": "2026-05-01T09:30:00Z", "berth": "N1", "event": "departure", "draught": 1.80}

{"time": "2026-05-01T09:45:00Z", "berth": "N2", "event": "arrival"
{"time": "2026-05-02T04:55:00Z", "berth": "N3", "event": "arrival", "draught": 2.10}
"""

ANALYSIS = {
    "cells": [
        {"cell_type": "markdown", "metadata": {}, "source": ["# Tide analysis\n", "\n", "Heights in *metres*."]},
        {
            "cell_type": "code",
            "execution_count": 1,
            "metadata": {},
            "source": ["heights = [5.2, 5.4]\n", "max(heights)"],
            "outputs": [
                {"output_type": "stream", "name": "stdout", "text": ["two heights\n"]},
                {
                    "output_type": "execute_result",
                    "execution_count": 1,
                    "metadata": {},
                    "data": {"text/plain": ["5.4"], "text/html": ["<b>5.4</b>"]},
                },
                {
                    "output_type": "display_data",
                    "metadata": {},
                    "data": {"image/png": base64.b64encode(picture_bytes()).decode(), "text/plain": ["<Figure>"]},
                },
            ],
        },
        {
            "cell_type": "code",
            "execution_count": 2,
            "metadata": {},
            "source": "1 / 0",
            "outputs": [
                {
                    "output_type": "error",
                    "ename": "ZeroDivisionError",
                    "evalue": "division by zero",
                    "traceback": ["\u001b[0;31mZeroDivisionError\u001b[0m: division by zero"],
                }
            ],
        },
        {"cell_type": "raw", "metadata": {}, "source": "Left as it is."},
        {"cell_type": "markdown", "metadata": {}, "source": "| Day | Height |\n|---|---|\n| 1 | 5.2 |\n"},
    ],
    "metadata": {
        "title": "Tides of May",
        "authors": [{"name": "H. Moss"}],
        "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
        "language_info": {"name": "python"},
    },
    "nbformat": 4,
    "nbformat_minor": 5,
}

DIAGRAM = """<?xml version="1.0" encoding="UTF-8"?>
<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" width="320" height="200"
     viewBox="0 0 320 200">
  <title>Plan of the harbour</title>
  <desc>Two basins and a slipway between them.</desc>
  <style>text { font-family: sans-serif; font-size: 14px }</style>
  <script>alert(1)</script>
  <rect x="10" y="30" width="120" height="90" fill="#9cf"/>
  <rect x="190" y="30" width="120" height="90" fill="#9cf"/>
  <g transform="translate(190 0)"><text x="10" y="80">South basin</text></g>
  <text x="20" y="80">North <tspan font-weight="bold">basin</tspan></text>
  <text x="60" y="160">Slipway, open at<tspan x="60" dy="18">half tide only</tspan></text>
  <image xlink:href="file:///etc/passwd" x="0" y="0" width="10" height="10"/>
  <image xlink:href="https://example.org/tracker.png" x="0" y="0" width="10" height="10"/>
  <text display="none" x="1" y="1">not shown</text>
</svg>
"""

SAMPLES: dict[str, bytes] = {
    "catalogue.xml": CATALOGUE.encode("latin-1"),
    "guide.rst": GUIDE.encode(),
    "records.json": json.dumps(RECORDS, indent=2).encode() + b"\n",
    "events.jsonl": EVENTS.encode(),
    "analysis.ipynb": json.dumps(ANALYSIS, indent=1).encode() + b"\n",
    "diagram.svg": DIAGRAM.encode(),
}


def ole_bytes(*root: str, nested: tuple[str, ...] = ()) -> bytes:
    """An OLE file whose directory has streams of these names, the last of `root` a storage that holds `nested`.

    Source of the layout: [MS-CFB]; the streams are empty.
    """
    header = bytearray(512)
    header[:8] = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
    struct.pack_into("<5H", header, 24, 0x3E, 3, 0xFFFE, 9, 6)
    struct.pack_into("<L", header, 44, 1)
    struct.pack_into("<L", header, 48, 1)
    struct.pack_into("<L", header, 68, 0xFFFFFFFE)
    header[76:] = b"\xff" * (512 - 76)
    struct.pack_into("<L", header, 76, 0)
    none, names = 0xFFFFFFFF, ("Root Entry", *root, *nested)
    directory = b""
    for number, name in enumerate(names):
        siblings = len(root) if number <= len(root) else len(names) - 1
        right = number + 1 if 0 < number < siblings else none
        child = 1 if number == 0 else len(root) + 1 if number == len(root) and nested else none
        kind = 5 if number == 0 else 1 if child != none else 2
        encoded = name.encode("utf-16-le") + b"\x00\x00"
        entry = encoded.ljust(64, b"\x00") + struct.pack("<HBB3L", len(encoded), kind, 1, none, right, child)
        directory += entry.ljust(116, b"\x00") + struct.pack("<LQ", 0xFFFFFFFE, 0)
    directory = directory.ljust(-(-len(directory) // 512) * 512, b"\x00")
    sectors = len(directory) // 512
    chain = [0xFFFFFFFD, *range(2, sectors + 1), 0xFFFFFFFE]
    table = struct.pack(f"<{len(chain)}L", *chain).ljust(512, b"\xff")
    return bytes(header) + table + directory


def build(folder: Path) -> None:
    """Writes every sample into `folder`."""
    for name, data in SAMPLES.items():
        (folder / name).write_bytes(data)


if __name__ == "__main__":
    build(HERE)
