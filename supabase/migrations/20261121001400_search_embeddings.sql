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

alter table public.document_embeddings
    add column keywords tsvector generated always as (public.docatlas_words(prefix || ' ' || chunk_text)) stored;
comment on column public.document_embeddings.keywords is 'Full text of prefix and chunk.';
create index document_embeddings_keywords on public.document_embeddings using gin (keywords);

create function public.search_similar_embeddings(
    query_embedding vector(768), match_threshold double precision, match_count integer
) returns table (document_id uuid, chunk_text text, similarity double precision, metadata jsonb)
    language sql stable security invoker
    set search_path = public, extensions set hnsw.iterative_scan = 'strict_order' set hnsw.ef_search = '200'
as $$
    with nearest as materialized (
        select e.document_id, e.chunk_text, 1 - (e.embedding <=> query_embedding) as similarity, e.row_id,
            d.metadata || e.metadata || jsonb_build_object(
                'chunk_id', e.chunk_id, 'filename', d.filename, 'page', e.first_page, 'spans', e.spans) as metadata
        from public.document_embeddings e
        join public.documents_metadata d on d.document_id = e.document_id and d.generation = e.generation
        where e.space = (select newest.space from public.document_embeddings newest
            where newest.space is not null order by newest.row_id desc limit 1)
        order by e.embedding::halfvec(768) <=> query_embedding::halfvec(768)
        limit least(greatest(match_count, 0), 1000) * 2
    )
    select document_id, chunk_text, similarity, metadata from nearest
    where similarity >= match_threshold
    order by similarity desc, row_id
    limit least(greatest(match_count, 0), 1000)
$$;
comment on function public.search_similar_embeddings is
    'The chunks nearest to a vector of the newest text model, of those that the caller may see; at most 1000.';

create function public.search_similar_images(
    query_embedding vector(768), match_threshold double precision, match_count integer
) returns table (document_id uuid, image_id uuid, page_number integer, similarity double precision, metadata jsonb)
    language sql stable security invoker
    set search_path = public, extensions set hnsw.iterative_scan = 'strict_order' set hnsw.ef_search = '200'
as $$
    with nearest as materialized (
        select i.document_id, i.image_id, i.page_number, 1 - (i.embedding <=> query_embedding) as similarity, i.row_id,
            d.metadata || jsonb_build_object(
                'filename', d.filename, 'box', i.box, 'alt', i.alt, 'caption', i.caption) as metadata
        from public.document_images i
        join public.documents_metadata d on d.document_id = i.document_id and d.generation = i.generation
        where i.space = (select newest.space from public.document_images newest
            where newest.space is not null order by newest.row_id desc limit 1)
        order by i.embedding::halfvec(768) <=> query_embedding::halfvec(768)
        limit least(greatest(match_count, 0), 1000) * 2
    )
    select document_id, image_id, page_number, similarity, metadata from nearest
    where similarity >= match_threshold
    order by similarity desc, row_id
    limit least(greatest(match_count, 0), 1000)
$$;
comment on function public.search_similar_images is
    'The pictures nearest to a vector of the newest picture model, of those that the caller may see; at most 1000.';

revoke all on function public.search_similar_embeddings, public.search_similar_images from public, anon;
grant execute on function public.search_similar_embeddings, public.search_similar_images to authenticated, service_role;
