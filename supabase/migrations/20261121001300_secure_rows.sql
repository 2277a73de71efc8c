-- Who may do what. Row level security is on and forced for every table: an owner (role `authenticated`, named by the
-- subject of the JWT claims) sees and changes own rows only, a worker (`service_role`) all of them, nobody else any.
-- Pages, pictures and chunks are written by workers only; they go with their document.
--
-- An owner writes through the server only (`session_user` is who logged in): a client that comes over Supabase's REST
-- with the same role could else give a document the SHA-256 of somebody's file, which the server would then hand out, or
-- queue jobs and skip quotas.

-- The role that the server logs in as has no rights of its own: it becomes one of the three for each transaction.
do $$
begin
    if not exists (select from pg_roles where rolname = 'docatlas_server') then
        create role docatlas_server nologin noinherit nocreatedb nocreaterole;
    end if;
end
$$;
comment on role docatlas_server is
    'Docatlas logs in as this role. `docatlas db upgrade` lets it log in, with the password of DOCATLAS_DATABASE_URL.';
do $$
begin
    if current_setting('server_version_num')::int >= 160000 then
        execute 'grant anon, authenticated, service_role to docatlas_server with inherit false, set true';
    else
        grant anon, authenticated, service_role to docatlas_server;
    end if;
end
$$;

grant usage on schema public to anon, authenticated, service_role;
grant usage on schema extensions to anon, authenticated, service_role;

alter table public.users enable row level security;
alter table public.users force row level security;
revoke all on public.users from anon, authenticated, service_role;
grant select, insert, update, delete on public.users to service_role;
grant select on public.users to authenticated;
grant update (display_name) on public.users to authenticated;
create policy users_service on public.users for all to service_role using (true) with check (true);
create policy users_select on public.users for select to authenticated
    using (user_id = (select auth.uid()));
create policy users_update on public.users for update to authenticated
    using (user_id = (select auth.uid())) with check (user_id = (select auth.uid()));

alter table public.documents_metadata enable row level security;
alter table public.documents_metadata force row level security;
revoke all on public.documents_metadata from anon, authenticated, service_role;
grant select, insert, update, delete on public.documents_metadata to service_role;
grant select on public.documents_metadata to authenticated;
grant insert, update, delete on public.documents_metadata to authenticated;
create policy documents_metadata_service on public.documents_metadata for all to service_role using (true) with check (true);
create policy documents_metadata_select on public.documents_metadata for select to authenticated
    using (user_id = (select auth.uid()));
create policy documents_metadata_insert on public.documents_metadata for insert to authenticated
    with check (user_id = (select auth.uid()) and (select pg_has_role(session_user, 'docatlas_server', 'member')));
create policy documents_metadata_update on public.documents_metadata for update to authenticated
    using (user_id = (select auth.uid()) and (select pg_has_role(session_user, 'docatlas_server', 'member')))
    with check (user_id = (select auth.uid()) and (select pg_has_role(session_user, 'docatlas_server', 'member')));
create policy documents_metadata_delete on public.documents_metadata for delete to authenticated
    using (user_id = (select auth.uid()) and (select pg_has_role(session_user, 'docatlas_server', 'member')));

alter table public.document_pages enable row level security;
alter table public.document_pages force row level security;
revoke all on public.document_pages from anon, authenticated, service_role;
grant select, insert, update, delete on public.document_pages to service_role;
grant select on public.document_pages to authenticated;
create policy document_pages_service on public.document_pages for all to service_role using (true) with check (true);
create policy document_pages_select on public.document_pages for select to authenticated
    using (user_id = (select auth.uid()));

alter table public.document_images enable row level security;
alter table public.document_images force row level security;
revoke all on public.document_images from anon, authenticated, service_role;
grant select, insert, update, delete on public.document_images to service_role;
grant select on public.document_images to authenticated;
create policy document_images_service on public.document_images for all to service_role using (true) with check (true);
create policy document_images_select on public.document_images for select to authenticated
    using (user_id = (select auth.uid()));

alter table public.document_embeddings enable row level security;
alter table public.document_embeddings force row level security;
revoke all on public.document_embeddings from anon, authenticated, service_role;
grant select, insert, update, delete on public.document_embeddings to service_role;
grant select on public.document_embeddings to authenticated;
create policy document_embeddings_service on public.document_embeddings for all to service_role using (true) with check (true);
create policy document_embeddings_select on public.document_embeddings for select to authenticated
    using (user_id = (select auth.uid()));

alter table public.jobs enable row level security;
alter table public.jobs force row level security;
revoke all on public.jobs from anon, authenticated, service_role;
grant select, insert, update, delete on public.jobs to service_role;
grant select on public.jobs to authenticated;
grant insert, update, delete on public.jobs to authenticated;
create policy jobs_service on public.jobs for all to service_role using (true) with check (true);
create policy jobs_select on public.jobs for select to authenticated
    using (user_id = (select auth.uid()));
create policy jobs_insert on public.jobs for insert to authenticated
    with check (user_id = (select auth.uid()) and (select pg_has_role(session_user, 'docatlas_server', 'member')));
create policy jobs_update on public.jobs for update to authenticated
    using (user_id = (select auth.uid()) and (select pg_has_role(session_user, 'docatlas_server', 'member')))
    with check (user_id = (select auth.uid()) and (select pg_has_role(session_user, 'docatlas_server', 'member')));
create policy jobs_delete on public.jobs for delete to authenticated
    using (user_id = (select auth.uid()) and (select pg_has_role(session_user, 'docatlas_server', 'member')));

alter table public.similarity_searches enable row level security;
alter table public.similarity_searches force row level security;
revoke all on public.similarity_searches from anon, authenticated, service_role;
grant select, insert, update, delete on public.similarity_searches to service_role;
grant select on public.similarity_searches to authenticated;
grant insert, update, delete on public.similarity_searches to authenticated;
create policy similarity_searches_service on public.similarity_searches for all to service_role using (true) with check (true);
create policy similarity_searches_select on public.similarity_searches for select to authenticated
    using (user_id = (select auth.uid()));
create policy similarity_searches_insert on public.similarity_searches for insert to authenticated
    with check (user_id = (select auth.uid()) and (select pg_has_role(session_user, 'docatlas_server', 'member')));
create policy similarity_searches_update on public.similarity_searches for update to authenticated
    using (user_id = (select auth.uid()) and (select pg_has_role(session_user, 'docatlas_server', 'member')))
    with check (user_id = (select auth.uid()) and (select pg_has_role(session_user, 'docatlas_server', 'member')));
create policy similarity_searches_delete on public.similarity_searches for delete to authenticated
    using (user_id = (select auth.uid()) and (select pg_has_role(session_user, 'docatlas_server', 'member')));

grant usage on all sequences in schema public to service_role;

-- How many queued jobs, of any owner, come before one of the caller's: row level security hides the others' rows, and the
-- number tells nothing of them but how long the queue is. By the job's id, for with a time of the caller's choice the
-- times and ids of all others could be found by halving.
create function public.queued_before(job uuid) returns bigint
    language sql stable security definer set search_path = ''
as $$
    select (
        select count(*) from public.jobs other
        where other.status = 'queued' and (other.created_at, other.job_id) < (mine.created_at, mine.job_id)
    )
    from public.jobs mine
    where mine.job_id = job and mine.status = 'queued'
        and (mine.user_id = (select auth.uid()) or (select auth.role()) = 'service_role')
$$;
comment on function public.queued_before is
    'How many queued jobs of all owners come before this one of the caller''s; null where it is not queued.';
revoke all on function public.queued_before from public, anon;
grant execute on function public.queued_before to authenticated, service_role;
-- Owned by a role that passes row level security, which is forced on the tables' owner too.
grant create on schema public to service_role;
alter function public.queued_before owner to service_role;
revoke create on schema public from service_role;
