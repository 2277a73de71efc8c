-- What a node writes to find out whether the database takes writes again: see database/postgres/probe.py.
set search_path = public, extensions;

create table public.write_probes (
    filling text not null
);
comment on table public.write_probes is
    'Filled and emptied by nodes that found the database not writable, until it is. Nobody reads it.';
-- Not compressed: the rows have to take the room that they seem to.
alter table public.write_probes alter column filling set storage plain;

alter table public.write_probes enable row level security;
alter table public.write_probes force row level security;
revoke all on public.write_probes from anon, authenticated, service_role;
grant select, insert, update, delete, truncate on public.write_probes to service_role;
create policy write_probes_service on public.write_probes for all to service_role using (true) with check (true);
