-- Search: an index over the vectors, one over the words, and functions for clients that come over Supabase's REST.
set search_path = public, extensions;

-- Half precision: half the size and as good, for what the index finds is ranked again by the float32 vectors.
create index document_embeddings_hnsw on public.document_embeddings
    using hnsw ((embedding::halfvec(768)) halfvec_cosine_ops);
create index document_images_hnsw on public.document_images
    using hnsw ((embedding::halfvec(768)) halfvec_cosine_ops);

-- English stems without accents, and no stop words: "to be or not to be" can be found.
create text search dictionary public.docatlas_stem (template = snowball, language = english);
create text search configuration public.docatlas (copy = pg_catalog.simple);
alter text search configuration public.docatlas
    alter mapping for asciiword, word, asciihword, hword, hword_asciipart, hword_part, numword, numhword, hword_numpart
    with unaccent, public.docatlas_stem;

-- The words of a text. Punctuation is taken out first, so that names of files, addresses and numbers are cut into the
-- words which people type; `translate` knows no locale, and so is the same on every server.
create function public.docatlas_words(text_ text) returns tsvector
    language sql immutable strict parallel safe set search_path = public, extensions
as $$
    select to_tsvector('public.docatlas'::regconfig,
        translate(text_, '!"#$%&''()*+,-./:;<=>?@[\]^_`{|}~', repeat(' ', 32)))
$$;
comment on function public.docatlas_words is 'The words of a text, stemmed, as full-text search compares them.';

-- A chunk's words stay in its row, where ranking reads them many times; only the vector goes to the side.
alter table public.document_embeddings set (toast_tuple_target = 4080);
alter table public.document_embeddings
    add column keywords tsvector generated always as (public.docatlas_words(prefix || ' ' || chunk_text)) stored;
comment on column public.document_embeddings.keywords is 'Full text of prefix and chunk.';
create index document_embeddings_keywords on public.document_embeddings using gin (keywords);

-- Keyword search by the index, for owners too. `@@` is not leakproof, so Postgres evaluates the policy of a table before
-- it and never uses an index for it: an owner's search would read all chunks of the owner. This function holds the same
-- condition as the policy and lets the index be used. Source: PostgreSQL documentation, 5.9 "Row Security Policies".
--
-- BM25 as SQLite's FTS5 has it (sqlite.org/fts5.html, 4.3.1: k1 = 1.2, b = 0.75, no weight below 0.000001), over the
-- chunks that are searched: those of the documents `within`, or all that the owner reads. A chunk's length is the number
-- of its different words. With all weights 1, ts_rank_cd of a single word is the number of its places. Where `at_most`
-- chunks have a word that is in no more than 5000 of them, those without such a word are not ranked: what is in most
-- chunks tells little, and would cost the most.
create function public.rank_keywords(words text[], at_most integer, within uuid[] default null)
    returns table (row_id bigint, chunk_id uuid, document_id uuid, generation integer, score double precision)
    language plpgsql stable security definer set search_path = ''
as $$
#variable_conflict use_column
declare
    me constant uuid := auth.uid();
    common constant integer := 5000;
    queries tsquery[];
    looked_for tsquery;
    rare tsquery;
    most bigint;
    is_common boolean[];
    total double precision;
begin
    select array_agg(query order by place), string_agg(query::text, ' | ')::tsquery into queries, looked_for
    from (
        select place, to_tsquery('public.docatlas'::regconfig, word) as query
        from unnest(words) with ordinality as w (word, place)
    ) asked
    where numnode(query) > 0;
    if queries is null or me is null then
        return;
    end if;
    select greatest(coalesce(sum(total_chunks), 0), 1) into total
    from public.documents_metadata
    where user_id = me and generation > 0 and (within is null or document_id = any (within));
    if total > common then
        select string_agg(query::text, ' | ') filter (where found <= common)::tsquery,
            max(found) filter (where found <= common), array_agg(found > common order by place)
        into rare, most, is_common
        from unnest(queries) with ordinality as q (query, place), lateral (
            select count(*) as found from (
                select from public.document_embeddings e
                join public.documents_metadata d on d.document_id = e.document_id and d.generation = e.generation
                where e.user_id = me and e.keywords @@ query and (within is null or e.document_id = any (within))
                limit common + 1
            ) few
        ) counted;
        if most >= at_most then
            looked_for := rare;
        else
            is_common := null;
        end if;
    end if;
    return query
    with found as materialized (
        select e.row_id, e.chunk_id, e.document_id, e.generation, length(e.keywords) as length,
            array(select ts_rank_cd('{1,1,1,1}', e.keywords, query) from unnest(queries) query) as frequencies
        from public.document_embeddings e
        join public.documents_metadata d on d.document_id = e.document_id and d.generation = e.generation
        where e.user_id = me and e.keywords @@ looked_for and (within is null or e.document_id = any (within))
    ),
    known as materialized (
        select count(*)::double precision as rows, greatest(avg(length), 1)::double precision as length from found
    ),
    having_word as (
        -- A common word's chunks are not all among those found: their share tells how many there are.
        select place, count(*) filter (where frequency > 0)
            * case when is_common[place] then total / (select rows from known) else 1 end as chunks
        from found, unnest(frequencies) with ordinality as f (frequency, place)
        group by place
    ),
    weights as materialized (
        select array_agg(greatest(ln(greatest(total - chunks + 0.5, 0.5) / (chunks + 0.5)), 0.000001) order by place)
            as weight
        from having_word
    )
    select f.row_id, f.chunk_id, f.document_id, f.generation, (
        select sum(weight * 2.2 * frequency / (frequency + 1.2 * (0.25 + 0.75 * f.length / k.length)))
        from unnest(f.frequencies, w.weight) as t (frequency, weight)
    ) as score
    from found f, known k, weights w
    order by score desc, row_id
    limit at_most;
end
$$;
comment on function public.rank_keywords is
    'The caller''s own chunks that have one of the words, with their BM25, best first.';

-- The functions for clients over REST follow the rule of the server's own search: by the index where there are many
-- rows, exactly where there are few, or where the index gave up before it had found enough. The statements that choose
-- the candidates are planned anew each time, with the vector and the number in them.
create function public.search_similar_embeddings(
    query_embedding vector(768), match_threshold double precision, match_count integer
) returns table (document_id uuid, chunk_text text, similarity double precision, metadata jsonb)
    language plpgsql stable security invoker
    set search_path = public, extensions
    set hnsw.iterative_scan = 'relaxed_order' set hnsw.ef_search = '400' set hnsw.scan_mem_multiplier = '8'
    set enable_sort = on
as $$
#variable_conflict use_column
declare
    wanted constant integer := least(greatest(coalesce(match_count, 0), 0), 1000);
    newest text;
    candidates bigint[];
    nearest constant text := 'select array(select e.row_id from public.document_embeddings e '
        'join public.documents_metadata d on d.document_id = e.document_id and d.generation = e.generation '
        'where e.space = $2 order by %s limit %s)';
begin
    if wanted = 0 or query_embedding is null or vector_norm(query_embedding) = 0 then
        return;
    end if;
    -- An owner's newest document is the first in the index of owners; a service's newest row the first of all.
    if auth.uid() is null then
        newest := (select e.space from public.document_embeddings e where e.space is not null
            order by e.row_id desc limit 1);
    else
        newest := (select e.space from public.document_embeddings e where e.space is not null
            order by e.user_id desc, e.document_id desc limit 1);
    end if;
    if (select coalesce(sum(total_chunks), 0) from (
        select d.total_chunks from public.documents_metadata d
        where d.generation > 0 and d.total_chunks > 0 limit 8001) few) > 8000 then
        perform set_config('enable_sort', 'off', true);
        execute format(nearest, 'e.embedding::halfvec(768) <=> $1::halfvec(768)', wanted * 2)
            into candidates using query_embedding, newest;
        perform set_config('enable_sort', 'on', true);
    end if;
    if candidates is null or cardinality(candidates) < wanted then
        execute format(nearest, 'e.embedding <=> $1, e.row_id', wanted) into candidates using query_embedding, newest;
    end if;
    return query
    select e.document_id, e.chunk_text, 1 - (e.embedding <=> query_embedding) as similarity,
        d.metadata || e.metadata || jsonb_build_object(
            'chunk_id', e.chunk_id, 'filename', d.filename, 'page', e.first_page, 'spans', e.spans)
    from public.document_embeddings e
    join public.documents_metadata d on d.document_id = e.document_id and d.generation = e.generation
    where e.row_id = any (candidates) and 1 - (e.embedding <=> query_embedding) >= coalesce(match_threshold, -1)
    order by similarity desc, e.row_id
    limit wanted;
end
$$;
comment on function public.search_similar_embeddings is
    'The chunks nearest to a vector of the newest text model, of those that the caller may see; at most 1000.';

create function public.search_similar_images(
    query_embedding vector(768), match_threshold double precision, match_count integer
) returns table (document_id uuid, image_id uuid, page_number integer, similarity double precision, metadata jsonb)
    language plpgsql stable security invoker
    set search_path = public, extensions
    set hnsw.iterative_scan = 'relaxed_order' set hnsw.ef_search = '400' set hnsw.scan_mem_multiplier = '8'
    set enable_sort = on
as $$
#variable_conflict use_column
declare
    wanted constant integer := least(greatest(coalesce(match_count, 0), 0), 1000);
    newest text;
    candidates bigint[];
    nearest constant text := 'select array(select i.row_id from public.document_images i '
        'join public.documents_metadata d on d.document_id = i.document_id and d.generation = i.generation '
        'where i.space = $2 order by %s limit %s)';
begin
    if wanted = 0 or query_embedding is null or vector_norm(query_embedding) = 0 then
        return;
    end if;
    if auth.uid() is null then
        newest := (select i.space from public.document_images i where i.space is not null
            order by i.row_id desc limit 1);
    else
        newest := (select i.space from public.document_images i where i.space is not null
            order by i.user_id desc, i.document_id desc limit 1);
    end if;
    if (select coalesce(sum(image_count), 0) from (
        select d.image_count from public.documents_metadata d
        where d.generation > 0 and d.image_count > 0 limit 8001) few) > 8000 then
        perform set_config('enable_sort', 'off', true);
        execute format(nearest, 'i.embedding::halfvec(768) <=> $1::halfvec(768)', wanted * 2)
            into candidates using query_embedding, newest;
        perform set_config('enable_sort', 'on', true);
    end if;
    if candidates is null or cardinality(candidates) < wanted then
        execute format(nearest, 'i.embedding <=> $1, i.row_id', wanted) into candidates using query_embedding, newest;
    end if;
    return query
    select i.document_id, i.image_id, i.page_number, 1 - (i.embedding <=> query_embedding) as similarity,
        d.metadata || jsonb_build_object('filename', d.filename, 'box', i.box, 'alt', i.alt, 'caption', i.caption)
    from public.document_images i
    join public.documents_metadata d on d.document_id = i.document_id and d.generation = i.generation
    where i.row_id = any (candidates) and 1 - (i.embedding <=> query_embedding) >= coalesce(match_threshold, -1)
    order by similarity desc, i.row_id
    limit wanted;
end
$$;
comment on function public.search_similar_images is
    'The pictures nearest to a vector of the newest picture model, of those that the caller may see; at most 1000.';

revoke all on function public.rank_keywords, public.search_similar_embeddings, public.search_similar_images
    from public, anon;
grant execute on function public.rank_keywords, public.search_similar_embeddings, public.search_similar_images
    to authenticated, service_role;
-- Owned by a role that passes row level security, which is forced on the tables' owner too.
grant create on schema public to service_role;
alter function public.rank_keywords owner to service_role;
revoke create on schema public from service_role;
