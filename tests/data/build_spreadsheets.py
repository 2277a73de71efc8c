"""Builds workbook.xlsx and legacy.xls beside this file: `python -m tests.data.build_spreadsheets`.

legacy.xls was converted once from workbook.xlsx by LibreOffice 7.4 and is committed as it came out: no kept library
writes this format with notes. Without LibreOffice it is left as it is. What the tests alone need is built by the
functions here, from XML, and never committed.
"""

from __future__ import annotations

import shutil
import subprocess
import tempfile
import zipfile
from collections.abc import Mapping
from datetime import date, datetime, time, timedelta
from io import BytesIO
from pathlib import Path
from types import MappingProxyType

_NOTHING: Mapping[str, bytes] = MappingProxyType({})
HERE = Path(__file__).resolve().parent
MAIN = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
RELATIONS = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
PACKAGE = "http://schemas.openxmlformats.org/package/2006/relationships"


def picture_png() -> bytes:
    """A small picture with something in it."""
    from PIL import Image, ImageDraw

    image = Image.new("RGB", (96, 64), (240, 240, 230))
    draw = ImageDraw.Draw(image)
    draw.ellipse((20, 8, 68, 56), fill=(200, 30, 30))
    draw.rectangle((76, 4, 90, 60), fill=(20, 60, 160))
    target = BytesIO()
    image.save(target, "PNG")
    return target.getvalue()


def build_workbook() -> bytes:
    """A harbour's books: formats, hidden parts, comments, links, a chart, a text box and a picture."""
    import xlsxwriter

    target = BytesIO()
    book = xlsxwriter.Workbook(target, {"in_memory": True})
    book.set_properties({"title": "Harbour books", "author": "P. Lind", "created": datetime(2026, 1, 1)})
    bold = book.add_format({"bold": True})

    def shown(code: str) -> object:
        return book.add_format({"num_format": code})

    fees = book.add_worksheet("Fees")
    fees.set_header('&L&"Arial,Bold"Harbour office&RPage &P')
    fees.set_footer("&CConfidential && internal")
    fees.write("A1", "Berth fees 2026", bold)
    for column, title in enumerate(("Boat", "Since", "Fee", "Share", "Hours", "Paid", "Note")):
        fees.write(2, column, title, bold)
    rows = (
        ("Merle", date(2024, 3, 9), 1250.5, 0.125, timedelta(hours=30, minutes=5), True, "on time"),
        ("Ibis", date(2025, 11, 30), 980, 0.3333, timedelta(hours=7), False, "asked twice"),
        ("Zander", date(2026, 1, 2), -45.25, 0.05, timedelta(minutes=50), True, ""),
    )
    money, share, hours, day = shown("€#,##0.00;[Red](€#,##0.00)"), shown("0.0%"), shown("[h]:mm"), shown("d mmm yyyy")
    for at, (boat, since, fee, part, spent, paid, note) in enumerate(rows, 3):
        fees.write(at, 0, boat)
        fees.write_datetime(at, 1, since, day)
        fees.write_number(at, 2, fee, money)
        fees.write_number(at, 3, part, share)
        fees.write_datetime(at, 4, spent, hours)
        fees.write_boolean(at, 5, paid)
        fees.write(at, 6, note)
    fees.write(6, 0, "Total", bold)
    fees.write_formula(6, 2, "=SUM(C4:C6)", money, 2185.25)
    fees.write_formula(6, 3, "=1/0", None, "#DIV/0!")
    fees.write_comment("C5", "Was 1,000 until May.", {"author": "H. Moss"})
    fees.write_url("G7", "https://example.org/fees", None, "How fees are made")
    fees.write_rich_string("A9", "Paid in ", bold, "cash", " or by card.")
    fees.set_row(4, None, None, {"hidden": True})

    tides = book.add_worksheet("Tides")
    tides.write_row("A1", ("Day", "High water", "Height"))
    for at, (hour, height) in enumerate(((4, 5.2), (5, 5.4), (6, 5.1)), 1):
        tides.write_datetime(at, 0, datetime(2026, 1, at), shown("yyyy-mm-dd"))
        tides.write_datetime(at, 1, time(hour, 10), shown("h:mm AM/PM"))
        tides.write_number(at, 2, height, shown("0.00"))
    tides.write_row("F3", ("Station", "Datum"))
    tides.write_row("F4", ("Porthness", "0.35 m"))
    tides.write_row("F5", ("Eastquay", "0.41 m"))
    tides.write_row("F6", ("Far Holm", "0.29 m"))
    tides.merge_range("A10:C10", "Times are local times.")
    chart = book.add_chart({"type": "line"})
    chart.add_series({"name": "=Tides!$C$1", "categories": "=Tides!$A$2:$A$4", "values": "=Tides!$C$2:$C$4"})
    chart.set_title({"name": "Heights in January"})
    chart.set_y_axis({"name": "metres"})
    tides.insert_chart("H2", chart)
    tides.insert_textbox("A14", "Check the barometer first.")
    tides.insert_image("H20", "buoy.png", {"image_data": BytesIO(picture_png()), "description": "A red buoy"})

    secret = book.add_worksheet("Reserve")
    secret.write_row("A1", ("Fund", "Amount"))
    secret.write_row("A2", ("Dredging", 1234567))
    secret.hide()
    book.close()
    return target.getvalue()


def minimal_xlsx(
    *sheets: str,
    strings: str = "",
    styles: str = "",
    workbook: str = "",
    states: tuple[str, ...] = (),
    parts: Mapping[str, bytes] = _NOTHING,
) -> bytes:
    """A workbook of sheets whose XML is given, from `<sheetData>` on; `parts` are further members by name."""
    listed = "".join(
        f'<sheet name="Sheet{n}" sheetId="{n}" r:id="r{n}"'
        + (f' state="{states[n - 1]}"' if len(states) >= n and states[n - 1] else "")
        + "/>"
        for n in range(1, len(sheets) + 1)
    )
    related = "".join(
        f'<Relationship Id="r{n}" Type="{RELATIONS}/worksheet" Target="worksheets/sheet{n}.xml"/>'
        for n in range(1, len(sheets) + 1)
    )
    members = {
        "[Content_Types].xml": (
            '<Types xmlns="http://schemas.openxmlformats.org/package/2006/content-types">'
            '<Override PartName="/xl/workbook.xml" ContentType="application/vnd.openxmlformats-officedocument.'
            'spreadsheetml.sheet.main+xml"/></Types>'
        ),
        "_rels/.rels": relations_xml(
            f'<Relationship Id="r1" Type="{RELATIONS}/officeDocument" Target="xl/workbook.xml"/>'
        ),
        "xl/workbook.xml": workbook
        or f'<workbook xmlns="{MAIN}" xmlns:r="{RELATIONS}"><sheets>{listed}</sheets></workbook>',
        "xl/_rels/workbook.xml.rels": relations_xml(
            related
            + f'<Relationship Id="rs" Type="{RELATIONS}/sharedStrings" Target="sharedStrings.xml"/>'
            + f'<Relationship Id="rf" Type="{RELATIONS}/styles" Target="styles.xml"/>'
        ),
        "xl/sharedStrings.xml": f'<sst xmlns="{MAIN}">{strings}</sst>',
        "xl/styles.xml": f'<styleSheet xmlns="{MAIN}">{styles}</styleSheet>',
    }
    for n, sheet in enumerate(sheets, 1):
        members[f"xl/worksheets/sheet{n}.xml"] = f'<worksheet xmlns="{MAIN}" xmlns:r="{RELATIONS}">{sheet}</worksheet>'
    everything = {**{name: text.encode() for name, text in members.items()}, **parts}
    target = BytesIO()
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in everything.items():
            archive.writestr(zipfile.ZipInfo(name, (2026, 1, 1, 0, 0, 0)), data, zipfile.ZIP_DEFLATED)
    return target.getvalue()


def relations_xml(inside: str) -> str:
    """A part of relationships."""
    return f'<Relationships xmlns="{PACKAGE}">{inside}</Relationships>'


def main() -> None:
    (HERE / "workbook.xlsx").write_bytes(build_workbook())
    office = shutil.which("soffice")
    if office:
        with tempfile.TemporaryDirectory() as folder:
            command = [office, "--headless", "--convert-to", "xls", "--outdir", folder, str(HERE / "workbook.xlsx")]
            subprocess.run(command, check=True, capture_output=True, timeout=120)
            shutil.copy(Path(folder) / "workbook.xls", HERE / "legacy.xls")


if __name__ == "__main__":
    main()
