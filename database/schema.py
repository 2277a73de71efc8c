"""The tables, as the SQL migrations of both databases make them.

Tests compare them. A table with `info={"only": "sqlite"}` is what the index in memory needs, and does not exist on
Postgres; one with `info={"only": "postgresql"}` the other way round.
"""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Column,
    Float,
    ForeignKey,
    ForeignKeyConstraint,
    Integer,
    MetaData,
    Table,
    UniqueConstraint,
)

from database.columns import CompressedJson, Id, Json, Moment, StorableText, UnitVector

metadata = MetaData()
ONLY_SQLITE = {"only": "sqlite"}
ONLY_POSTGRES = {"only": "postgresql"}
_RowId = BigInteger().with_variant(Integer, "sqlite")


def _text(name: str, *, null: bool = False, key: bool = False) -> Column[str]:
    return Column(name, StorableText, nullable=null, primary_key=key)


def _id(name: str, *, null: bool = False, key: bool = False) -> Column[str]:
    return Column(name, Id, nullable=null, primary_key=key)


def _moment(name: str, *, null: bool = False) -> Column[str]:
    return Column(name, Moment, nullable=null)


def _integer(name: str, *, key: bool = False) -> Column[int]:
    return Column(name, Integer, nullable=False, primary_key=key, autoincrement=False)


def _owner(*, key: bool = False) -> Column[str]:
    return Column("user_id", Id, ForeignKey("users.user_id", ondelete="CASCADE"), nullable=False, primary_key=key)


def _of_document(column: str = "document_id") -> ForeignKeyConstraint:
    """The part goes with its document and has the document's owner."""
    return ForeignKeyConstraint(
        [column, "user_id"],
        ["documents_metadata.document_id", "documents_metadata.user_id"],
        ondelete="CASCADE",
    )


users = Table("users", metadata, _id("user_id", key=True), _text("display_name"), _moment("created_at"))

documents = Table(
    "documents_metadata",
    metadata,
    _id("document_id", key=True),
    _owner(),
    _id("parent_id", null=True),
    _text("filename"),
    _text("file_type"),
    _text("media_type"),
    Column("file_size", BigInteger, nullable=False),
    _text("sha256"),
    _text("title"),
    _text("author"),
    _text("language"),
    _integer("page_count"),
    _integer("total_chunks"),
    _integer("total_chars"),
    _integer("image_count"),
    _text("status"),
    _integer("generation"),
    _integer("last_generation"),
    _integer("parent_generation"),
    Column("change", BigInteger, nullable=False),
    _moment("created_at"),
    _moment("updated_at"),
    Column("metadata", Json, nullable=False),
    Column("options", Json, nullable=False),
    Column("warnings", Json, nullable=False),
    UniqueConstraint("document_id", "user_id"),
    _of_document("parent_id"),
)

pages = Table(
    "document_pages",
    metadata,
    _id("document_id", key=True),
    _integer("generation", key=True),
    _integer("page_number", key=True),
    _id("user_id"),
    _integer("char_start"),
    Column("width", Float, nullable=False),
    Column("height", Float, nullable=False),
    _text("source"),
    _text("reason"),
    _integer("rotation"),
    Column("confidence", Float, nullable=False),
    Column("languages", Json, nullable=False),
    _integer("word_count"),
    _integer("elapsed_ms"),
    _text("engine"),
    _text("page_text"),
    Column("layout", CompressedJson, nullable=False),
    _of_document(),
)

images = Table(
    "document_images",
    metadata,
    Column("row_id", _RowId, primary_key=True, autoincrement=True, nullable=False),
    _id("image_id"),
    _id("document_id"),
    _id("user_id"),
    _integer("generation"),
    _integer("ordinal"),
    _integer("page_number"),
    Column("box", Json, nullable=True),
    _integer("width"),
    _integer("height"),
    _text("media_type"),
    _text("sha256"),
    _text("alt"),
    _text("caption"),
    _text("space", null=True),
    Column("embedding", UnitVector, nullable=True),
    UniqueConstraint("image_id"),
    UniqueConstraint("document_id", "generation", "ordinal"),
    _of_document(),
)

chunks = Table(
    "document_embeddings",
    metadata,
    Column("row_id", _RowId, primary_key=True, autoincrement=True, nullable=False),
    _id("chunk_id"),
    _id("document_id"),
    _id("user_id"),
    _integer("generation"),
    _integer("chunk_index"),
    _integer("first_page"),
    _integer("last_page"),
    _text("content_hash"),
    _text("space", null=True),
    _moment("created_at"),
    _text("chunk_text"),
    _text("prefix"),
    Column("spans", Json, nullable=False),
    Column("metadata", Json, nullable=False),
    Column("embedding", UnitVector, nullable=True),
    UniqueConstraint("chunk_id"),
    UniqueConstraint("document_id", "generation", "chunk_index"),
    _of_document(),
)

jobs = Table(
    "jobs",
    metadata,
    _id("job_id", key=True),
    _owner(),
    _id("document_id", null=True),
    _text("type"),
    _text("status"),
    _text("stage", null=True),
    Column("percent", Float, nullable=False),
    _integer("pages_done"),
    _integer("pages_total"),
    _integer("attempts"),
    _integer("generation"),
    Column("options", Json, nullable=False),
    Column("warnings", Json, nullable=False),
    Column("error", Json, nullable=True),
    _moment("created_at"),
    _moment("started_at", null=True),
    _moment("heartbeat_at", null=True),
    _moment("finished_at", null=True),
    _moment("run_after", null=True),
    _text("worker_id", null=True),
    _of_document(),
)

searches = Table(
    "similarity_searches",
    metadata,
    _id("search_id", key=True),
    _owner(),
    _text("query_text"),
    _integer("results_found"),
    _moment("search_timestamp"),
    Column("metadata", Json, nullable=False),
    Column("query_embedding", UnitVector, nullable=True),
)

aliases = Table(
    "document_aliases",
    metadata,
    _id("alias_id", key=True),
    _id("user_id"),
    _id("document_id"),
    _moment("created_at"),
    _of_document(),
)

write_probes = Table("write_probes", metadata, _text("filling"), info=ONLY_POSTGRES)

change_counters = Table(
    "change_counters",
    metadata,
    _owner(key=True),
    Column("value", BigInteger, nullable=False),
    Column("revision", BigInteger, nullable=False),
    info=ONLY_SQLITE,
)

tombstones = Table(
    "document_tombstones",
    metadata,
    _id("document_id", key=True),
    _owner(),
    Column("change", BigInteger, nullable=False),
    info=ONLY_SQLITE,
)
