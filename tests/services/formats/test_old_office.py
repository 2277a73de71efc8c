"""DOC and PPT: converted and read, with the real LibreOffice; what happens without it, and to damaged files."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from services.content import BlockKind, DocumentInfo, Limits
from services.errors import CapabilityMissing, EncryptedDocument, TooLarge, UnreadableDocument
from services.formats.office.libreoffice import PPT_TO_PPTX, convert, find_libreoffice
from tests.data.compound_file import compound_file
from tests.support.format_cases import DATA, compare_with_golden, issues, outline, pages, read
from tests.support.libreoffice_install import libreoffice


@pytest.fixture(scope="module")
def program() -> Path:
    return libreoffice()


def test_doc_is_read_without_libreoffice(tmp_path: Path) -> None:
    compare_with_golden("memo.doc", outline(read(DATA / "memo.doc", tmp_path)))


def test_ppt_is_read_through_libreoffice(tmp_path: Path, program: Path) -> None:
    parts = read(DATA / "talk.ppt", tmp_path, libreoffice=program)
    assert isinstance(parts[0], DocumentInfo)
    assert [issue.code for issue in issues(parts)] == ["converted"]
    first, second = pages(parts)
    assert "The harbour in figures" in first.text
    assert "North basin: 40" in second.text
    assert [block.kind for block in second.blocks][-1] is BlockKind.SPEAKER_NOTE
    assert list((tmp_path / "pictures").iterdir()) == []


def test_ppt_without_libreoffice_says_what_to_install(tmp_path: Path) -> None:
    with pytest.raises(CapabilityMissing) as caught:
        read(DATA / "talk.ppt", tmp_path)
    assert caught.value.code == "libreoffice_missing"
    assert "DOCATLAS_LIBREOFFICE_PATH" in caught.value.detail
    assert list((tmp_path / "pictures").iterdir()) == []


def odd_doc() -> bytes:
    """A Word document of a version that only LibreOffice may know."""
    stream = bytearray(1024)
    stream[:4] = b"\xec\xa5\x68\x00"
    return compound_file({"WordDocument": bytes(stream), "1Table": b"\x00" * 64})


def test_doc_that_the_converter_does_not_know_needs_libreoffice(tmp_path: Path, program: Path) -> None:
    with pytest.raises(CapabilityMissing) as caught:
        read(odd_doc(), tmp_path, name="a.doc")
    assert caught.value.code == "libreoffice_missing"
    parts = read(odd_doc(), tmp_path, name="a.doc", libreoffice=program)
    assert [issue.code for issue in issues(parts)] == ["converted"]


@pytest.mark.parametrize("keep", [6000, 12_000])
def test_truncated_doc_is_refused(tmp_path: Path, keep: int) -> None:
    with pytest.raises(UnreadableDocument) as caught:
        read((DATA / "memo.doc").read_bytes()[:keep], tmp_path, name="a.doc")
    assert caught.value.code == "corrupt_document"


def test_conversion_that_takes_too_long_is_ended(tmp_path: Path, program: Path) -> None:
    with pytest.raises(TooLarge) as caught:
        convert(program, DATA / "talk.ppt", PPT_TO_PPTX, tmp_path, Limits(wall_s=0.05))
    assert caught.value.code == "conversion_timeout"


def test_program_that_cannot_be_started_is_named(tmp_path: Path) -> None:
    program = tmp_path / "soffice"
    program.write_text("no program")
    folder = tmp_path / "work"
    folder.mkdir()
    with pytest.raises(CapabilityMissing) as caught:
        convert(program, DATA / "talk.ppt", PPT_TO_PPTX, folder, Limits())
    assert caught.value.code == "libreoffice_broken"


def test_file_that_libreoffice_refuses_is_said_to_be_damaged(tmp_path: Path, program: Path) -> None:
    data = compound_file({"PowerPoint Document": b"\x00" * 5000, "Current User": b"\x00" * 40})
    with pytest.raises(UnreadableDocument) as caught:
        read(data, tmp_path, name="a.ppt", libreoffice=program)
    assert caught.value.code in ("conversion_failed", "corrupt_document")


def test_explicit_program_is_taken_and_never_replaced(tmp_path: Path) -> None:
    given = tmp_path / "soffice"
    assert find_libreoffice(given) is None
    given.write_text("#!/bin/sh\n")
    assert find_libreoffice(given) == given


def test_macros_and_links_are_switched_off_in_the_profile(tmp_path: Path, program: Path) -> None:
    result = convert(program, DATA / "talk.ppt", PPT_TO_PPTX, tmp_path, Limits())
    assert zipfile.is_zipfile(result)
    settings = (tmp_path / "profile" / "user" / "registrymodifications.xcu").read_text(encoding="utf-8")
    assert 'oor:name="DisableMacrosExecution" oor:op="fuse"><value>true</value>' in settings
    assert 'oor:name="BlockUntrustedRefererLinks" oor:op="fuse"><value>true</value>' in settings


def test_conversion_works_within_the_limits_of_the_parsing_child(tmp_path: Path, program: Path) -> None:
    code = (
        "import resource, sys; from pathlib import Path; from services.content import Limits\n"
        "from services.formats.office.libreoffice import PPT_TO_PPTX, convert\n"
        "resource.setrlimit(resource.RLIMIT_AS, (2 << 30, 2 << 30))\n"
        "resource.setrlimit(resource.RLIMIT_NOFILE, (512, 512))\n"
        f"program, source, folder = map(Path, ({str(program)!r}, {str(DATA / 'talk.ppt')!r}, {str(tmp_path)!r}))\n"
        "print(convert(program, source, PPT_TO_PPTX, folder, Limits()).stat().st_size > 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=DATA.parents[1], check=True)
    assert done.stdout.strip() == "True"


def encrypted_doc() -> bytes:
    """A Word document whose header says that it is encrypted by RC4, with a damaged verifier."""
    stream = bytearray(1500)
    stream[:4] = b"\xec\xa5\xc1\x00"
    stream[10:12] = (0x0300).to_bytes(2, "little")
    stream[14:18] = (52).to_bytes(4, "little")
    table = b"\x01\x00\x01\x00" + bytes(48) + bytes(100)
    return compound_file({"WordDocument": bytes(stream), "1Table": table})


def test_encrypted_doc_asks_for_its_password(tmp_path: Path) -> None:
    with pytest.raises(EncryptedDocument) as caught:
        read(encrypted_doc(), tmp_path, name="a.doc")
    assert caught.value.code == "password_required"
    with pytest.raises(EncryptedDocument) as wrong:
        read(encrypted_doc(), tmp_path, name="a.doc", password="guess")
    assert wrong.value.code == "password_wrong"
