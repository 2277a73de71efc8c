-- Owners, documents and what was read out of them. Every row names its owner, and the composite foreign keys make sure
-- that a part never belongs to another owner than its document.
create schema if not exists extensions;
create extension if not exists vector with schema extensions;
create extension if not exists unaccent with schema extensions;
set search_path = public, extensions;

create table public.users (
    user_id uuid primary key,
    display_name text not null,
    created_at timestamptz not null default now()
);
comment on table public.users is 'Owners of documents: the profile of an account.';

-- The one owner without accounts.
insert into public.users (user_id, display_name) values ('00000000-0000-7000-8000-000000000001', 'local');

create table public.documents_metadata (
    document_id uuid primary key,
    user_id uuid not null references public.users (user_id) on delete cascade,
    parent_id uuid,
    filename text not null,
    file_type text not null,
    media_type text not null,
    file_size bigint not null check (file_size >= 0),
    sha256 text not null check (sha256 ~ '^[0-9a-f]{64}$'),
    title text not null,
    author text not null,
    language text not null,
    page_count integer not null,
    total_chunks integer not null,
    total_chars integer not null,
    image_count integer not null,
    status text not null check (status in
        ('queued', 'in_progress', 'completed', 'completed_with_errors', 'failed', 'cancelled')),
    generation integer not null check (generation >= 0),
    last_generation integer not null check (last_generation >= generation),
    parent_generation integer not null default 0,
    change bigint not null default 0,
    created_at timestamptz not null,
    updated_at timestamptz not null,
    metadata jsonb not null,
    options jsonb not null,
    warnings jsonb not null,
    unique (document_id, user_id),
    foreign key (parent_id, user_id) references public.documents_metadata (document_id, user_id) on delete cascade
);
comment on table public.documents_metadata is
    'Uploaded documents, and those that lie in another one (parent_id). Readers see the parts of `generation` only.';
comment on column public.documents_metadata.generation is 'The reading that is shown; 0 while there is none.';
comment on column public.documents_metadata.last_generation is 'The newest reading that a job was queued for.';
comment on column public.documents_metadata.parent_generation is
    'The reading of the parent that last queued the job of this one; 0 while none has.';
comment on column public.documents_metadata.metadata is 'What the owner says about the document.';
comment on column public.documents_metadata.change is 'Used by SQLite only.';

-- The identity of content is (owner, sha256). A child is its place, its content and its name.
create unique index documents_metadata_content on public.documents_metadata (user_id, sha256) where parent_id is null;
create unique index documents_metadata_member on public.documents_metadata (parent_id, sha256, filename)
    where parent_id is not null;
create index documents_metadata_newest on public.documents_metadata (user_id, created_at, document_id);
create index documents_metadata_newest_uploads on public.documents_metadata (user_id, created_at, document_id)
    where parent_id is null;
create index documents_metadata_parent on public.documents_metadata (parent_id, user_id) where parent_id is not null;
create index documents_metadata_sha256 on public.documents_metadata (sha256);

create table public.document_pages (
    document_id uuid not null,
    generation integer not null check (generation > 0),
    page_number integer not null check (page_number > 0),
    user_id uuid not null,
    char_start integer not null check (char_start >= 0),
    width double precision not null,
    height double precision not null,
    source text not null check (source in ('native', 'ocr', 'hybrid')),
    reason text not null,
    rotation integer not null check (rotation in (0, 90, 180, 270)),
    confidence double precision not null,
    languages jsonb not null,
    word_count integer not null,
    elapsed_ms integer not null,
    engine text not null,
    page_text text not null,
    layout bytea not null,
    primary key (document_id, generation, page_number),
    foreign key (document_id, user_id) references public.documents_metadata (document_id, user_id) on delete cascade
);
comment on table public.document_pages is 'Pages of a reading, with their text and where its words stand.';
comment on column public.document_pages.page_number is 'From 1.';
comment on column public.document_pages.char_start is 'Offset of the page''s text in the document''s, in code points.';
comment on column public.document_pages.width is 'Points (1/72 inch), as is the height.';
comment on column public.document_pages.layout is 'zlib of UTF-8 JSON: word boxes in points from the top left, blocks.';
create index document_pages_owner on public.document_pages (user_id, document_id);

create table public.document_images (
    row_id bigint generated by default as identity primary key,
    image_id uuid not null unique,
    document_id uuid not null,
    user_id uuid not null,
    generation integer not null check (generation > 0),
    ordinal integer not null check (ordinal >= 0),
    page_number integer not null check (page_number > 0),
    box jsonb,
    width integer not null,
    height integer not null,
    media_type text not null,
    sha256 text not null check (sha256 ~ '^[0-9a-f]{64}$'),
    alt text not null,
    caption text not null,
    space text,
    embedding vector(768),
    unique (document_id, generation, ordinal),
    check ((space is null) = (embedding is null)),
    foreign key (document_id, user_id) references public.documents_metadata (document_id, user_id) on delete cascade
);
comment on table public.document_images is 'Pictures of a reading with their CLIP vectors.';
comment on column public.document_images.box is '[x0, y0, x1, y1] in points from the top left of the page.';
comment on column public.document_images.embedding is 'Unit length, in the space of the picture model `space`.';
create index document_images_owner on public.document_images (user_id, document_id);
create index document_images_sha256 on public.document_images (sha256);
create index document_images_space on public.document_images (space, row_id);

create table public.document_embeddings (
    row_id bigint generated by default as identity primary key,
    chunk_id uuid not null unique,
    document_id uuid not null,
    user_id uuid not null,
    generation integer not null check (generation > 0),
    chunk_index integer not null check (chunk_index >= 0),
    first_page integer not null,
    last_page integer not null,
    content_hash text not null,
    space text,
    created_at timestamptz not null,
    chunk_text text not null,
    prefix text not null,
    spans jsonb not null,
    metadata jsonb not null,
    embedding vector(768),
    unique (document_id, generation, chunk_index),
    check ((space is null) = (embedding is null)),
    foreign key (document_id, user_id) references public.documents_metadata (document_id, user_id) on delete cascade
);
comment on table public.document_embeddings is 'Chunks of a reading: the passages that a search finds, with their vectors.';
comment on column public.document_embeddings.row_id is 'Grows with every insert: of two equal hits, the older one is first.';
comment on column public.document_embeddings.prefix is 'Heading path; embedded with the text, and no slice of the document.';
comment on column public.document_embeddings.spans is
    '{page, char_start, char_end, boxes} each; joined they slice the document''s text.';
comment on column public.document_embeddings.content_hash is 'SHA-256 of what was embedded.';
comment on column public.document_embeddings.embedding is 'Unit length, in the space of the text model `space`.';
create index document_embeddings_owner on public.document_embeddings (user_id, document_id, generation);
create index document_embeddings_content on public.document_embeddings (user_id, content_hash, space);
