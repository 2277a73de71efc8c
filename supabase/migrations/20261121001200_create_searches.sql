-- Every search, for its owner to look at.
set search_path = public, extensions;

create table public.similarity_searches (
    search_id uuid primary key,
    user_id uuid not null references public.users (user_id) on delete cascade,
    query_text text not null,
    results_found integer not null check (results_found >= 0),
    search_timestamp timestamptz not null,
    metadata jsonb not null,
    query_embedding vector(768)
);
comment on table public.similarity_searches is 'Searches that were made: the words, their vector, how much was found.';
create index similarity_searches_newest on public.similarity_searches (user_id, search_timestamp, search_id);
