"""Every setting, read once from the environment (prefix `DOCATLAS_`) and frozen; nothing else reads the environment."""

from __future__ import annotations

import ipaddress
import os
from pathlib import Path
from typing import Literal

import platformdirs
from pydantic import Field, field_validator, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from services.content import Limits
from services.options import Options


class Settings(BaseSettings):
    """The whole configuration. The defaults run locally with no keys."""

    model_config = SettingsConfigDict(env_prefix="DOCATLAS_", frozen=True, extra="ignore")

    host: str = Field("127.0.0.1", description="Address to listen on; another than loopback needs `allow_remote`.")
    port: int = Field(8000, ge=0, le=65535, description="TCP port to listen on; 0 takes a free one.")
    allow_remote: bool = Field(
        False, description="Allow an address other than loopback, although nobody has to log in."
    )
    allowed_hosts: tuple[str, ...] = Field(
        (), description="Further names accepted in the Host header (JSON list), beside loopback's and `host`."
    )
    cors_origins: tuple[str, ...] = Field(
        (), description="Browser origins allowed beside loopback's on any port (JSON list)."
    )
    data_dir: Path = Field(
        Path(platformdirs.user_data_dir("docatlas")), description="Folder of the database and the uploaded files."
    )
    cache_dir: Path = Field(
        Path(platformdirs.user_cache_dir("docatlas")),
        description="Folder of the model weights, shared by all data folders.",
    )
    max_upload_bytes: int = Field(200 * 1024**2, gt=0, description="Largest file accepted, in bytes.")
    max_files_per_request: int = Field(1000, ge=100, description="Most files in one upload request.")
    worker_threads: int = Field(
        default_factory=lambda: max(1, min(8, os.cpu_count() or 1)),
        ge=1,
        le=64,
        description="Jobs run at the same time.",
    )
    text_model: Literal["all-mpnet-base-v2", "hash"] = Field(
        "all-mpnet-base-v2", description="Text embedding model; `hash` needs no weights, knows no meaning."
    )
    model_dtype: Literal["auto", "float32", "bfloat16"] = Field(
        "auto", description="Arithmetic of the models; `auto`: bfloat16 on CPUs with avx512_bf16 or AMX, else float32."
    )
    torch_threads: int = Field(0, ge=0, le=256, description="Threads of a model call; 0 is one per core.")
    clip_model: str = Field(
        "", description="open_clip architecture of the pictures' model; empty for the default (see docs/decisions)."
    )
    clip_dir: Path | None = Field(
        None, description="Folder of an open_clip checkpoint: open_clip_config.json, safetensors, tokenizer."
    )
    ocr_engine: Literal["auto", "tesseract", "rapidocr", "none"] = Field(
        "auto", description="OCR engine; `auto` chooses by the page among those installed, `none` reads no scans."
    )
    tesseract_path: Path | None = Field(
        None, description="The tesseract program; default: the system's, else the wheel."
    )
    libreoffice_path: Path | None = Field(
        None, description="The soffice program, for .ppt and odd .doc files; default: the system's."
    )
    chunk_size: int = Field(1000, description="Default characters of a chunk.")
    chunk_overlap: int = Field(200, description="Default characters shared by neighbouring chunks.")
    ocr_languages: tuple[str, ...] = Field(
        ("eng",), description='Default OCR languages (JSON list); `["auto"]` finds out which of those installed.'
    )
    parse_wall_s: float = Field(900.0, gt=0, description="Wall-clock seconds that parsing one document may take.")
    parse_cpu_s: float = Field(1800.0, gt=0, description="CPU seconds that parsing one document may take.")
    parse_memory_bytes: int = Field(
        2 * 1024**3, ge=256 * 1024**2, description="Resident memory of the processes that parse one document."
    )
    parse_output_bytes: int = Field(
        2 * 1024**3, ge=16 * 1024**2, description="Bytes that parsing one document may send, and keep in files."
    )
    max_pages: int = Field(5000, ge=1, description="Pages of one document.")
    max_pixels: int = Field(50_000_000, ge=1, description="Pixels of one picture.")
    ocr_page_s: float = Field(120.0, gt=0, description="Seconds that OCR of one page may take.")
    ocr_processes: int = Field(
        default_factory=lambda: max(1, min(8, os.cpu_count() or 1)),
        ge=1,
        le=64,
        description="OCR processes of one document.",
    )
    heartbeat_s: float = Field(1.0, gt=0, description="Seconds between two heartbeats of a running job.")
    sweep_s: float = Field(1.0, gt=0, description="Seconds between two looks for jobs that nobody announced.")
    hub_timeout_s: float = Field(5.0, gt=0, le=30, description="Seconds until a model hub out of reach is given up.")
    offline: bool = Field(False, description="Never fetch model weights; use the cache only.")
    log_level: Literal["debug", "info", "warning", "error"] = Field("info", description="Least severe log line.")

    @field_validator("data_dir", "cache_dir", "clip_dir", "tesseract_path", "libreoffice_path")
    @classmethod
    def _absolute(cls, value: Path | None) -> Path | None:
        return None if value is None else value.expanduser().absolute()

    @model_validator(mode="after")
    def _consistent(self) -> Settings:
        if not is_loopback(self.host) and not self.allow_remote:
            raise ValueError(
                f"host {self.host!r} is not loopback and nobody has to log in: "
                "set DOCATLAS_ALLOW_REMOTE=true if the network is trusted, or listen on 127.0.0.1"
            )
        if self.chunk_overlap >= self.chunk_size:
            raise ValueError("chunk_overlap must be smaller than chunk_size")
        return self

    @property
    def limits(self) -> Limits:
        return Limits(
            wall_s=self.parse_wall_s,
            cpu_s=self.parse_cpu_s,
            memory_bytes=self.parse_memory_bytes,
            max_output_bytes=self.parse_output_bytes,
            max_pages=self.max_pages,
            max_pixels=self.max_pixels,
            ocr_processes=self.ocr_processes,
            ocr_page_s=self.ocr_page_s,
        )

    @property
    def default_options(self) -> Options:
        return Options(chunk_size=self.chunk_size, chunk_overlap=self.chunk_overlap, ocr_languages=self.ocr_languages)


def is_loopback(host: str) -> bool:
    """True for a loopback address, or for the name `localhost`."""
    if host.casefold() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False
