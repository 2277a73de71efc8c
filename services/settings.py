"""Every setting, read once from the environment (prefix `DOCATLAS_`) and frozen; nothing else reads the environment."""

from __future__ import annotations

import difflib
import ipaddress
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

import platformdirs
from pydantic import Field, IPvAnyNetwork, SecretStr, field_validator, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from services.content import Limits
from services.options import Options

MIN_SECRET_CHARS = 32
"""Of a secret that signs tokens. Source: RFC 7518, section 3.2: a key for HS256 has at least 256 bits."""

PREFIX = "DOCATLAS_"

OTHER_VARIABLES = ("DOCATLAS_TORCH_INDEX", "DOCATLAS_VENV", "DOCATLAS_PROGRAM", "DOCATLAS_REWRITE_GOLDEN")
"""Variables with the prefix that are no settings: three of the launcher, and that by which tests write golden files."""

_SERVICE_LINK = re.compile(
    rf"{PREFIX}(\w+_)?(SERVICE_(HOST|PORT)(_\w+)?|PORT_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)=.*"
    rf"|{PREFIX}\w+_PORT=(tcp|udp|sctp)://.*"
)
"""What Kubernetes sets in a pod beside a Service named `docatlas` or `docatlas-...`.

Source: Kubernetes, "Connecting Applications with Services", environment variables.
"""


class Settings(BaseSettings):
    """The whole configuration. The defaults run locally with no keys."""

    # What was given is in no error: it may be a secret.
    model_config = SettingsConfigDict(env_prefix=PREFIX, frozen=True, extra="ignore", hide_input_in_errors=True)

    host: str = Field("127.0.0.1", description="Address to listen on; another than loopback needs `allow_remote`.")
    port: int = Field(8000, ge=0, le=65535, description="TCP port to listen on; 0 takes a free one.")
    allow_remote: bool = Field(
        False, description="Allow an address other than loopback, although nobody has to log in."
    )
    allowed_hosts: tuple[str, ...] = Field(
        (), description="Further names accepted in the Host header (JSON list), beside loopback's and `host`."
    )
    cors_origins: tuple[str, ...] = Field(
        (),
        description="Browser origins allowed beside loopback's on any port (JSON list); `http://10.0.2.2:*`: any port.",
    )
    trusted_proxies: tuple[IPvAnyNetwork, ...] = Field(
        (),
        description="Proxies, by address or network, whose X-Forwarded-For and -Proto are believed (JSON list).",
    )
    max_connections: int = Field(
        4096, ge=16, description="Connections in all; the oldest without a request is closed for a new one."
    )
    max_connections_per_address: int = Field(
        512, ge=1, description="Connections of one client address; for IPv6, of one /64 network."
    )
    max_streams_per_address: int = Field(
        512, ge=1, description="Long polls, event streams and sockets of one client address; counted apart."
    )
    max_header_bytes: int = Field(
        64 * 1024, ge=4096, description="Bytes of one request's line and headers, and of a line of its body's framing."
    )
    max_headers: int = Field(100, ge=8, description="Headers of one request.")
    headers_timeout_s: float = Field(20.0, gt=0, description="Seconds that a request's headers may take to arrive.")
    body_timeout_s: float = Field(
        120.0, gt=0, description="Seconds that a body may take to arrive; an upload's may take six hours."
    )
    body_window_s: float = Field(60.0, gt=0, description="Seconds over which the rate of a body is measured.")
    body_min_bytes_per_s: float = Field(
        500.0, gt=0, description="Bytes a second that a body, an upload's too, has to bring in each such window."
    )
    answer_stall_s: float = Field(
        60.0, gt=0, description="Seconds after which a client that takes nothing of its answer is cut off."
    )
    max_body_memory_bytes: int = Field(
        128 * 1024**2, ge=16 * 1024**2, description="Bytes of bodies held in memory, over all connections."
    )
    data_dir: Path = Field(
        Path(platformdirs.user_data_dir("docatlas")), description="Folder of the database and the uploaded files."
    )
    cache_dir: Path = Field(
        Path(platformdirs.user_cache_dir("docatlas")),
        description="Folder of the model weights, shared by all data folders.",
    )
    database_url: SecretStr | None = Field(
        None, description="`postgresql://...` of the role that the server logs in as; empty: SQLite in `data_dir`."
    )
    database_admin_url: SecretStr | None = Field(
        None, description="`postgresql://...` of a role that may create tables, for migrations; never used to serve."
    )
    postgres: Literal["external", "embedded"] = Field(
        "external", description="`embedded` starts a Postgres of its own in `data_dir` where no `database_url` is set."
    )
    database_pool_size: int = Field(10, ge=1, le=200, description="Connections to Postgres of one process.")
    database_connect_timeout_s: float = Field(5.0, gt=0, description="Seconds until a connection is given up.")
    database_statement_timeout_s: float = Field(30.0, gt=0, description="Seconds that one statement may take.")
    database_lock_timeout_s: float = Field(10.0, gt=0, description="Seconds that one statement may wait for a lock.")
    database_sslmode: Literal["disable", "allow", "prefer", "require", "verify-ca", "verify-full"] = Field(
        "prefer", description="TLS to Postgres, in libpq's words; use `verify-full` beyond loopback."
    )
    database_sslrootcert: Path | None = Field(
        None, description="PEM file of the authorities that may sign Postgres' certificate."
    )
    database_exact_rows: int = Field(
        8_000, ge=0, description="Vectors up to which a search on Postgres is exact; above, an index is used."
    )
    fallback: bool = Field(
        True, description="Work on in SQLite on this node while Postgres does not answer, and replay afterwards."
    )
    fallback_failures: int = Field(3, ge=1, description="Failures in a row after which Postgres counts as down.")
    fallback_probe_s: float = Field(2.0, gt=0, description="Seconds between two looks whether Postgres answers.")
    accounts: Literal["none", "local", "supabase"] = Field(
        "none", description="Who may use the server: everybody on loopback, local accounts, or Supabase's users."
    )
    token_secret: SecretStr | None = Field(
        None,
        description="At least 32 characters that sign local accounts' tokens, and signed URLs; the same on every node.",
    )
    access_token_s: int = Field(900, ge=30, description="Seconds that an access token is valid.")
    refresh_token_s: int = Field(30 * 86400, ge=60, description="Seconds that a refresh token is valid.")
    registration: Literal["open", "closed"] = Field(
        "closed", description="Whether `/v1/auth/register` makes accounts; `docatlas users add` always does."
    )
    quota_documents: int = Field(0, ge=0, description="Documents that one user may keep; 0: no limit.")
    quota_bytes: int = Field(0, ge=0, description="Bytes of uploads that one user may keep; 0: no limit.")
    quota_requests_per_minute: int = Field(
        600, ge=0, description="Requests of one user a minute; 0: no limit. Not applied without accounts."
    )
    supabase_url: str = Field("", description="`https://<project>.supabase.co`, for accounts and files on Supabase.")
    supabase_anon_key: SecretStr | None = Field(None, description="The project's publishable (anon) key.")
    supabase_service_key: SecretStr | None = Field(None, description="The project's secret (service_role) key.")
    supabase_jwt_secret: SecretStr | None = Field(
        None, description="The project's legacy JWT secret (HS256); empty: its JWKS is used."
    )
    blob_storage: Literal["local", "supabase"] = Field(
        "local", description="Where files are kept: in `data_dir`, or in a private bucket of Supabase Storage."
    )
    storage_bucket: str = Field("docatlas", min_length=1, description="Name of the bucket.")
    storage_cache_bytes: int = Field(
        2 * 1024**3, ge=0, description="Bytes of files from the bucket that are kept on this node."
    )
    signed_url_s: int = Field(900, ge=10, description="Seconds that a signed URL of a file or picture is valid.")
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
    parse_wall_s: float = Field(
        900.0, gt=0, le=1e9, description="Wall-clock seconds that parsing one document may take."
    )
    parse_cpu_s: float = Field(1800.0, gt=0, le=1e9, description="CPU seconds that parsing one document may take.")
    parse_memory_bytes: int = Field(
        2 * 1024**3, ge=256 * 1024**2, le=2**50, description="Resident memory of the processes that parse one document."
    )
    parse_output_bytes: int = Field(
        2 * 1024**3,
        ge=16 * 1024**2,
        le=2**50,
        description="Bytes that parsing one document may send, and keep in files.",
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

    @field_validator("data_dir", "cache_dir", "clip_dir", "tesseract_path", "libreoffice_path", "database_sslrootcert")
    @classmethod
    def _absolute(cls, value: Path | None) -> Path | None:
        return None if value is None else value.expanduser().absolute()

    @model_validator(mode="after")
    def _consistent(self) -> Settings:
        self._check_accounts()
        if not is_loopback(self.host) and not self.allow_remote and self.accounts == "none":
            raise ValueError(
                f"host {self.host!r} is not loopback and nobody has to log in: "
                "set DOCATLAS_ALLOW_REMOTE=true if the network is trusted, or listen on 127.0.0.1"
            )
        if self.chunk_overlap >= self.chunk_size:
            raise ValueError("chunk_overlap must be smaller than chunk_size")
        return self

    def _check_accounts(self) -> None:
        if self.accounts == "local" and len(_revealed(self.token_secret)) < MIN_SECRET_CHARS:
            raise ValueError(
                f"accounts are local, and token_secret has fewer than {MIN_SECRET_CHARS} characters: set "
                "DOCATLAS_TOKEN_SECRET, for instance to the output of `openssl rand -hex 32`"
            )
        if self.accounts == "supabase" and not (self.supabase_url and _revealed(self.supabase_anon_key)):
            raise ValueError(
                "accounts are Supabase's, and DOCATLAS_SUPABASE_URL or DOCATLAS_SUPABASE_ANON_KEY is missing: "
                "both are on the project's page, Settings, API"
            )
        for name, secret in (("token_secret", self.token_secret), ("supabase_jwt_secret", self.supabase_jwt_secret)):
            if self.accounts == "supabase" and 0 < len(_revealed(secret)) < MIN_SECRET_CHARS:
                raise ValueError(
                    f"{name} has fewer than {MIN_SECRET_CHARS} characters: whoever sees one token could guess it and "
                    f"make others. Set DOCATLAS_{name.upper()} to a longer one, or leave it empty"
                )
        if self.blob_storage == "supabase" and not (self.supabase_url and _revealed(self.supabase_service_key)):
            raise ValueError(
                "files go to Supabase Storage, and DOCATLAS_SUPABASE_URL or DOCATLAS_SUPABASE_SERVICE_KEY is missing"
            )

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


def _revealed(secret: SecretStr | None) -> str:
    return "" if secret is None else secret.get_secret_value()


def unknown_variables(environment: Mapping[str, str] | None = None) -> dict[str, str]:
    """Each variable with the prefix that nothing reads, with the closest that is read, or with an empty string.

    `environment` is the process's own where it is None. Variables that Kubernetes sets by itself are left out.
    """
    environment = os.environ if environment is None else environment
    settings = [PREFIX + field.upper() for field in Settings.model_fields]
    known = {name.removeprefix(PREFIX): name for name in (*settings, *OTHER_VARIABLES)}
    found: dict[str, str] = {}
    for name, value in sorted(environment.items()):
        given = name.upper()
        if not given.startswith(PREFIX) or given in known.values():
            continue
        if not _SERVICE_LINK.fullmatch(f"{given}={value}"):
            close = difflib.get_close_matches(given.removeprefix(PREFIX), known, n=1)
            found[name] = known[close[0]] if close else ""
    return found


def program_name(environment: Mapping[str, str] | None = None) -> str:
    """How a person calls the command: what the launcher says in DOCATLAS_PROGRAM, else `docatlas`.

    `environment` is the process's own where it is None.
    """
    environment = os.environ if environment is None else environment
    return environment.get("DOCATLAS_PROGRAM") or "docatlas"


def is_loopback(host: str) -> bool:
    """True for a loopback address, or for the name `localhost`."""
    if host.casefold() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False
