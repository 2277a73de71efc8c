"""The service's own state over the wire."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import ConfigDict, Field

from api.models.base import Answer


class StatusAnswer(Answer):
    """The service answers."""

    model_config = ConfigDict(json_schema_extra={"example": {"status": "ok"}})

    status: Literal["ok"] = Field("ok", description="Always `ok`")


class CheckModel(Answer):
    """How one dependency is doing."""

    name: str = Field(description="`database`, `files`, `text_model`, `image_model`, `ocr` or `worker`")
    status: Literal["healthy", "degraded", "down"] = Field(description="How it is doing")
    latency_ms: float = Field(description="Milliseconds that asking it took")
    detail: str = Field(description="What is wrong and what to do; or, of a healthy one, what was not asked for")


class FallbackModel(Answer):
    """Whether this node works on without its database."""

    state: Literal["closed", "open", "half_open"] = Field(
        description="`open`: Postgres is out of reach. `half_open`: what this node took is being moved to it."
    )
    since: str | None = Field(None, description="When Postgres was last found not to work; null while it does")
    waiting: dict[str, int] = Field(description="Documents, jobs and searches on this node that are to be moved")


class HealthAnswer(Answer):
    """Each dependency; `healthy` when all that was asked for works, `down` is answered with 503."""

    model_config = ConfigDict(
        json_schema_extra={
            "example": {
                "status": "degraded",
                "version": "0.1.0",
                "checks": [
                    {"name": "database", "status": "healthy", "latency_ms": 0.4, "detail": ""},
                    {
                        "name": "image_model",
                        "status": "degraded",
                        "latency_ms": 0.1,
                        "detail": "The picture model that was asked for cannot be used: let DOCATLAS_CLIP_DIR hold "
                        "open_clip_config.json and open_clip_model.safetensors.",
                    },
                ],
                "fallback": None,
            }
        }
    )

    status: Literal["healthy", "degraded", "down"] = Field(
        description="`down` when the database or the files cannot be used"
    )
    version: str = Field(description="Version of Docatlas")
    checks: list[CheckModel] = Field(description="Each dependency")
    fallback: FallbackModel | None = Field(None, description="Null where no database stands in for another")


class CapabilitiesAnswer(Answer):
    """What this installation reads, searches and allows."""

    model_config = ConfigDict(
        json_schema_extra={
            "example": {
                "object": "capabilities",
                "version": "0.1.0",
                "formats": [{"format": "pdf", "media_type": "application/pdf", "extensions": ["pdf"]}],
                "ocr": {
                    "engine": "tesseract",
                    "version": "5.5.0",
                    "origin": "wheel",
                    "languages": ["eng"],
                    "modes": ["auto", "force", "off"],
                },
                "models": {
                    "text": {
                        "name": "all-mpnet-base-v2",
                        "space": "all-mpnet-base-v2@78c0197b6159",
                        "dimensions": 768,
                        "max_tokens": 384,
                        "state": "loaded",
                        "advice": "",
                    },
                    "image": {
                        "name": "ViT-B-16-SigLIP2",
                        "space": None,
                        "dimensions": 768,
                        "state": "missing",
                        "images_without_vector": None,
                        "advice": "run `docatlas models pull`, or set DOCATLAS_CLIP_DIR",
                    },
                },
                "search": {"modes": ["hybrid", "semantic", "keyword"], "modalities": ["text"], "recall": "exact"},
                "limits": {"max_upload_bytes": 209_715_200, "max_files_per_request": 1000, "max_k": 200},
                "store": {"kind": "sqlite", "migrations": 5},
                "queue": {"kind": "embedded", "worker_threads": 2},
                "accounts": {"mode": "local", "registration": "closed"},
            }
        }
    )

    object: Literal["capabilities"] = Field("capabilities", description="Always `capabilities`")
    version: str = Field(description="Version of Docatlas")
    formats: list[dict[str, Any]] = Field(
        description="Formats that are read, each with its media type and file extensions"
    )
    ocr: dict[str, Any] = Field(
        description="OCR engines, their versions and languages, and the values of `options.ocr`"
    )
    models: dict[str, dict[str, Any]] = Field(
        description="The text and the picture model: name, vector space, dimensions and state"
    )
    search: dict[str, Any] = Field(description="Search modes, what can be searched, and whether vector search is exact")
    limits: dict[str, Any] = Field(description="Limits on uploads, pages, pictures, search and chunks")
    store: dict[str, Any] = Field(description="The database: `sqlite` or `postgresql`, and its migrations")
    queue: dict[str, Any] = Field(description="The job queue and its worker threads")
    accounts: dict[str, Any] = Field(description="`none`, `local` or `supabase`, and whether registration is open")
