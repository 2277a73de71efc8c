"""Context for chat over the wire."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import ConfigDict, Field

from api.models.base import (
    EXAMPLE_CHUNK_ID,
    EXAMPLE_DOCUMENT_ID,
    EXAMPLE_IMAGE_ID,
    SIGNED_NOTE,
    Answer,
    Asked,
    BoxModel,
    JsonObject,
    Whole,
)
from api.models.documents import ImageModel
from api.models.search import DOCUMENT_EXAMPLE, TEXT_EXAMPLE, DocumentIds, HitDocument, ShortfallModel

_BOX: list[Any] = [72.0, 96.5, 523.2, 110.0]


class TurnModel(Asked):
    """One message of a chat, as in the OpenAI chat format."""

    role: Literal["system", "user", "assistant"] = Field(description="Who said it")
    content: str = Field(max_length=200_000, description="What was said")


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

    message: str = Field(min_length=1, max_length=100_000, description="The question that the model will be asked")
    history: list[TurnModel] = Field(
        default_factory=list, max_length=1000, description="Earlier messages of the chat, oldest first"
    )
    session_id: str | None = Field(
        None, max_length=64, description="Accepted and not looked at: this version keeps no sessions; send `history`"
    )
    k: Whole = Field(8, ge=1, le=50, description="Passages, at most")
    token_budget: Whole = Field(3000, ge=200, le=200_000, description="Of all messages together")
    document_ids: DocumentIds | None = Field(None, description="Only in these documents and in what lies inside them")
    filters: JsonObject | None = Field(None, description="As `filters` of POST /v1/search")


class SourceModel(Answer):
    """A numbered passage of the prompt."""

    n: int = Field(description="The number by which the prompt asks to cite it, from 1")
    document: HitDocument = Field(description="The document that holds the passage")
    page: int = Field(description="Page number, from 1")
    box: BoxModel | None = Field(
        description="Where the passage stands on the page; null where the format has no layout"
    )
    chunk_id: str = Field(description="Id of the passage")
    text: str = Field(description="The passage as it stands in the prompt")
    score: float = Field(description="As `score` of a search's hit")
    url: str = Field(
        description=f"Address of the page: as a picture where the format has a layout, else its text. {SIGNED_NOTE}"
    )


class MessageModel(Answer):
    """One message in the OpenAI chat format."""

    role: Literal["system", "user", "assistant"] = Field(description="Who says it")
    content: str = Field(description="What is said")


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
    "warnings": [],
}


class ContextAnswer(Answer):
    """A prompt for any chat model, with the sources that it cites by number."""

    model_config = ConfigDict(json_schema_extra={"example": _CONTEXT_EXAMPLE})

    prompt: str = Field(description="Instructions, sources, history and question in one string")
    messages: list[MessageModel] = Field(description="The same as messages in the OpenAI chat format")
    sources: list[SourceModel] = Field(description="The passages in the prompt, by number")
    images: list[ImageModel] = Field(description="Pictures that were found, or that stand on a cited page")
    summary: str = Field(description="One sentence that says what was found")
    tokens: int = Field(description="Tokens of all messages together")
    truncated: bool = Field(
        description="True when a passage or an earlier message was cut or left out because of the budget"
    )
    warnings: list[ShortfallModel] = Field(description="What the search for sources lacked, as in POST /v1/search")


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

    formatted_prompt: str = Field(description="The same as `prompt`")
    context_summary: str = Field(description="The same as `summary`")
    metadata: dict[str, Any] = Field(
        description="Facts about the answer: k, budget, tokens, ids of documents and pictures"
    )
