"""The programs and engines that parsing needs run inside the walls, with namespaces and without."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from services.content import Limits, Page, Upload
from services.formats.registry import Format
from services.ocr.engines import EngineName, find_engines
from services.options import Options
from services.sandbox.extract import ExtractRequest, extract
from services.sandbox.ocr_choice import pack_choice
from services.sandbox.pool import ChildPool
from tests.support.format_cases import DATA
from tests.support.libreoffice_install import libreoffice

PATIENT = Limits(wall_s=120.0)


@pytest.fixture(params=[True, False], ids=["namespaces", "no-namespaces"])
def pool(request: pytest.FixtureRequest) -> Iterator[ChildPool]:
    # The data folder of this installation is hidden, the samples in the checkout are not.
    made = ChildPool(start="spawn", hidden=[DATA / "absent"], namespaces=request.param)
    yield made
    made.close()


def words_of(path: Path, format: Format, request: ExtractRequest, folder: Path, pool: ChildPool) -> str:
    upload = Upload(path, path.name, "", "", path.stat().st_size)
    whole = replace(request, upload=upload, format=format)
    with closing(extract(whole, scratch=folder, pool=pool)) as pieces:
        return " ".join(piece.text for piece in pieces if isinstance(piece, Page))


BASE = ExtractRequest(Upload(DATA, "", "", "", 0), Format.TEXT, Options(), PATIENT, chunk=False)


def test_libreoffice_converts_inside_the_walls(pool: ChildPool, tmp_path: Path) -> None:
    request = replace(BASE, libreoffice=libreoffice())
    assert "harbour in figures" in words_of(DATA / "talk.ppt", Format.PPT, request, tmp_path, pool).lower()


@pytest.mark.parametrize("engine", ["tesseract", "rapidocr"])
def test_ocr_reads_inside_the_walls(engine: EngineName, pool: ChildPool, tmp_path: Path) -> None:
    engines = find_engines(engine)
    assert engines.name == engine
    request = replace(BASE, ocr=pack_choice(engines))
    assert "LEASE" in words_of(DATA / "letter.png", Format.PNG, request, tmp_path, pool).upper()
