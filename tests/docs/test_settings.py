"""docs/settings.md has each setting, as services/settings.py has it."""

from __future__ import annotations

import re

from docs.build_settings import GROUPS, MACHINE_DEFAULTS, OTHER, PAGE, grouped, settings_page
from services.settings import Settings
from tests.support.paths import ROOT


def test_page_is_what_the_generator_writes() -> None:
    assert PAGE.read_text(encoding="utf-8") == settings_page(), "run `python -m docs.build_settings`"


def test_each_setting_has_one_line() -> None:
    shown = re.findall(r"^\| `DOCATLAS_(\w+)` \|", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    assert len(shown) == len(set(shown))
    launcher = set(re.findall(r"DOCATLAS_(\w+)", (ROOT / "docatlas").read_text(encoding="utf-8")))
    assert {name.lower() for name in shown} - {name.lower() for name in launcher} <= set(Settings.model_fields)
    assert set(Settings.model_fields) <= {name.lower() for name in shown}


def test_each_setting_stands_below_a_heading_that_names_it() -> None:
    assert OTHER not in grouped(), "name the setting in GROUPS of docs/build_settings.py"
    assert set(grouped()) == set(GROUPS)
    assert set(MACHINE_DEFAULTS) <= set(Settings.model_fields)


def test_each_setting_is_explained_in_a_sentence() -> None:
    for name, field in Settings.model_fields.items():
        assert field.description, name
        assert field.description.endswith("."), name


def test_each_setting_that_a_page_names_exists() -> None:
    known = {f"DOCATLAS_{name.upper()}" for name in Settings.model_fields}
    known |= set(re.findall(r"DOCATLAS_\w+", (ROOT / "docatlas").read_text(encoding="utf-8")))
    known |= {"DOCATLAS_REWRITE_GOLDEN"}
    for path in (*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")):
        for name in re.findall(r"DOCATLAS_[A-Z_]+[A-Z]", path.read_text(encoding="utf-8")):
            assert name in known or any(one.startswith(f"{name}_") for one in known), f"{path.name}: {name}"
