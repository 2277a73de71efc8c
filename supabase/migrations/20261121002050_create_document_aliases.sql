-- Ids that were handed out for a document while the database could not be reached, where it turned out afterwards that
-- the same content was there under another id already.
set search_path = public, extensions;

create table public.document_aliases (
    alias_id uuid primary key,
    user_id uuid not null,
    document_id uuid not null,
    created_at timestamptz not null,
    foreign key (document_id, user_id) references public.documents_metadata (document_id, user_id) on delete cascade
);
comment on table public.document_aliases is
    'Further ids of documents: who asks for alias_id is sent to document_id.';
create index document_aliases_document on public.document_aliases (document_id, user_id);
create index document_aliases_owner on public.document_aliases (user_id, document_id);

alter table public.document_aliases enable row level security;
alter table public.document_aliases force row level security;
revoke all on public.document_aliases from anon, authenticated, service_role;
grant select, insert, update, delete on public.document_aliases to service_role;
grant select on public.document_aliases to authenticated;
create policy document_aliases_service on public.document_aliases for all to service_role using (true) with check (true);
create policy document_aliases_select on public.document_aliases for select to authenticated
    using (user_id = (select auth.uid()));
