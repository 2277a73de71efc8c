"""Writes docs/settings.md from services/settings.py: `python -m docs.build_settings`, from the project's root."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Literal, get_args, get_origin

from pydantic.fields import FieldInfo

from services.settings import Settings

PAGE = Path(__file__).with_name("settings.md")

GROUPS: Mapping[str, tuple[str, ...]] = {
    "Server": ("host", "port", "allow_remote", "allowed_hosts", "cors_origins", "trusted_proxies", "log_level"),
    "Limits on connections and requests": (
        "max_connections",
        "max_connections_per_address",
        "max_streams_per_address",
        "max_header_bytes",
        "max_headers",
        "headers_timeout_s",
        "body_",
        "answer_stall_s",
        "max_body_memory_bytes",
    ),
    "Folders": ("data_dir", "cache_dir"),
    "Uploads": ("max_upload_bytes", "max_files_per_request"),
    "OCR and other programs": ("ocr_", "tesseract_path", "libreoffice_path"),
    "Chunks": ("chunk_",),
    "Models": ("text_model", "model_dtype", "torch_threads", "clip_", "hub_timeout_s", "offline"),
    "Jobs": ("worker_threads", "heartbeat_s", "sweep_s"),
    "Limits on parsing one document": ("parse_", "max_pages", "max_pixels"),
    "Postgres": ("database_", "postgres"),
    "Fallback to SQLite": ("fallback", "fallback_"),
    "Accounts": ("accounts", "token_secret", "access_token_s", "refresh_token_s", "registration"),
    "Quotas": ("quota_",),
    "Supabase": ("supabase_",),
    "Files": ("blob_storage", "storage_", "signed_url_s"),
}
"""Headings, and the settings below each, by name or by the beginning of the name. What fits none comes last."""

OTHER = "Other"

MACHINE_DEFAULTS: Mapping[str, str] = {
    "data_dir": "the user's data folder",
    "cache_dir": "the user's cache folder",
    "worker_threads": "one per core, at most 8",
    "ocr_processes": "one per core, at most 8",
}
"""Settings whose default depends on the machine."""

_INTRODUCTION = """\
# Settings

Settings are environment variables that begin with `DOCATLAS_`. They are read once, at the start. A list is JSON, as in
`DOCATLAS_OCR_LANGUAGES='["eng", "deu"]'`. Without any setting, Docatlas runs on loopback, with SQLite, for one user.

A wrong value stops the command with `invalid_setting`. So does a `DOCATLAS_` variable that does not exist
(`unknown_setting`); the closest one that does is named.

This page is written by `python -m docs.build_settings` from `services/settings.py`; a test compares it.
"""

_LAUNCHER = """\
## Launcher

`./docatlas` itself reads two variables before anything is installed. [Where PyTorch comes
from](operations.md#where-pytorch-comes-from) says more:

| setting | default | meaning |
| --- | --- | --- |
| `DOCATLAS_VENV` | `.venv` beside the launcher | Folder of the Python environment. |
| `DOCATLAS_TORCH_INDEX` | the launcher chooses | Package index that PyTorch is installed from; `default`: pip's own. |
"""


def settings_page() -> str:
    """The text of docs/settings.md."""
    lines = [_INTRODUCTION]
    for heading, names in grouped().items():
        lines += [f"## {heading}\n", *_table(names), ""]
    return "\n".join([*lines, _LAUNCHER])


def grouped() -> dict[str, list[str]]:
    """The names of all settings by heading, in the order of services/settings.py."""
    found: dict[str, list[str]] = {heading: [] for heading in (*GROUPS, OTHER)}
    for name in Settings.model_fields:
        exact = [heading for heading, names in GROUPS.items() if name in names]
        begun = [
            heading
            for heading, names in GROUPS.items()
            for start in names
            if start[-1] == "_" and name.startswith(start)
        ]
        found[(exact + begun or [OTHER])[0]].append(name)
    return {heading: names for heading, names in found.items() if names}


def _table(names: list[str]) -> Iterator[str]:
    yield "| setting | default | meaning |"
    yield "| --- | --- | --- |"
    for name in names:
        field = Settings.model_fields[name]
        yield f"| `DOCATLAS_{name.upper()}` | {_default(name, field)} | {field.description}{_choices(field)} |"


def _choices(field: FieldInfo) -> str:
    """The words that a setting takes, where there are but a few."""
    if get_origin(field.annotation) is not Literal:
        return ""
    return f" One of {', '.join(f'`{choice}`' for choice in get_args(field.annotation))}."


def _default(name: str, field: FieldInfo) -> str:
    if name in MACHINE_DEFAULTS:
        return MACHINE_DEFAULTS[name]
    if field.default is None or field.default == "":
        return "none"
    if isinstance(field.default, tuple):
        return f"`{json.dumps(list(field.default))}`"
    return f"`{str(field.default).lower() if isinstance(field.default, bool) else field.default}`"


if __name__ == "__main__":
    PAGE.write_text(settings_page(), encoding="utf-8")
