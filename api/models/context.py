"""Context for chat over the wire."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import ConfigDict, Field

from api.models.base import (
    EXAMPLE_CHUNK_ID,
    EXAMPLE_DOCUMENT_ID,
    EXAMPLE_IMAGE_ID,
    Answer,
    Asked,
    BoxModel,
    JsonObject,
    Whole,
)
from api.models.documents import ImageModel
from api.models.search import DOCUMENT_EXAMPLE, TEXT_EXAMPLE, DocumentIds, HitDocument

_BOX: list[Any] = [72.0, 96.5, 523.2, 110.0]


class TurnModel(Asked):
    """One message of a chat, as in the OpenAI chat format."""

    role: Literal["system", "user", "assistant"]
    content: str = Field(max_length=200_000)


class ContextQuery(Asked):
    """What the prompt is for."""

    model_config = ConfigDict(
        json_schema_extra={
            "example": {
                "message": "When is the rent due?",
                "history": [{"role": "user", "content": "Tell me about the lease."}],
                "k": 8,
                "token_budget": 3000,
            }
        }
    )

    message: str = Field(min_length=1, max_length=100_000)
    history: list[TurnModel] = Field(default_factory=list, max_length=1000)
    session_id: str | None = Field(
        None, max_length=64, description="Accepted and not looked at: this version keeps no sessions; send `history`"
    )
    k: Whole = Field(8, ge=1, le=50)
    token_budget: Whole = Field(3000, ge=200, le=200_000, description="Of all messages together")
    document_ids: DocumentIds | None = None
    filters: JsonObject | None = None


class SourceModel(Answer):
    """A numbered passage of the prompt."""

    n: int
    document: HitDocument
    page: int
    box: BoxModel | None
    chunk_id: str
    text: str
    score: float
    url: str


class MessageModel(Answer):
    """One message in the OpenAI chat format."""

    role: Literal["system", "user", "assistant"]
    content: str


_CONTEXT_EXAMPLE: dict[str, Any] = {
    "prompt": "Answer the question from the sources below, and cite ... [1] ...\n\nQuestion: When is the rent due?",
    "messages": [
        {"role": "system", "content": "Answer the question from the sources below, and cite ... [1] ..."},
        {"role": "user", "content": "When is the rent due?"},
    ],
    "sources": [
        {
            "n": 1,
            "document": DOCUMENT_EXAMPLE,
            "page": 2,
            "box": _BOX,
            "chunk_id": EXAMPLE_CHUNK_ID,
            "text": TEXT_EXAMPLE,
            "score": 0.91,
            "url": f"/v1/documents/{EXAMPLE_DOCUMENT_ID}/pages/2/image",
        }
    ],
    "images": [],
    "summary": "1 passage from 1 document: Lease of the harbour office (page 2).",
    "tokens": 141,
    "truncated": False,
}


class ContextAnswer(Answer):
    """A prompt for any chat model, with the sources that it cites by number."""

    model_config = ConfigDict(json_schema_extra={"example": _CONTEXT_EXAMPLE})

    prompt: str
    messages: list[MessageModel]
    sources: list[SourceModel]
    images: list[ImageModel]
    summary: str
    tokens: int
    truncated: bool


class LegacyContextAnswer(ContextAnswer):
    """The same, with the members of the original design beside it."""

    model_config = ConfigDict(
        json_schema_extra={
            "example": {
                **_CONTEXT_EXAMPLE,
                "formatted_prompt": _CONTEXT_EXAMPLE["prompt"],
                "context_summary": _CONTEXT_EXAMPLE["summary"],
                "metadata": {
                    "k": 8,
                    "token_budget": 3000,
                    "tokens": 141,
                    "sources": 1,
                    "image_ids": [EXAMPLE_IMAGE_ID],
                },
            }
        }
    )

    formatted_prompt: str
    context_summary: str
    metadata: dict[str, Any]
