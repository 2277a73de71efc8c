-- Accounts with a password kept here, their sessions, who may not come in any more, and API keys. What logs somebody in
-- is kept as a hash only, and only service_role reads it. Where Supabase's own accounts are, `users` follows them.
create table public.local_accounts (
    user_id uuid primary key references public.users (user_id) on delete cascade,
    email text not null unique,
    password_hash text not null,
    is_offline boolean not null,
    created_at timestamptz not null,
    password_changed_at timestamptz not null
);
comment on table public.local_accounts is 'Accounts whose password is checked by Docatlas itself.';
comment on column public.local_accounts.email is 'Normalised: case folded, NFKC.';
comment on column public.local_accounts.password_hash is 'argon2id in the PHC string format.';
comment on column public.local_accounts.is_offline is 'May log in while Supabase''s accounts cannot be reached.';

create table public.refresh_tokens (
    token_hash text primary key check (token_hash ~ '^[0-9a-f]{64}$'),
    user_id uuid not null references public.users (user_id) on delete cascade,
    family_id uuid not null,
    created_at timestamptz not null,
    expires_at timestamptz not null,
    used_at timestamptz,
    successor text,
    check ((used_at is null) = (successor is null))
);
comment on table public.refresh_tokens is
    'Sessions of local accounts: a family is the first token of a login and all that took its place.';
comment on column public.refresh_tokens.token_hash is 'SHA-256 (hex); the token itself is not kept.';
comment on column public.refresh_tokens.successor is
    'The token that took its place, readable only with this one: answers a client whose answer was lost.';
create index refresh_tokens_family on public.refresh_tokens (user_id, family_id);

create table public.blocked_users (
    user_id uuid primary key,
    reason text not null check (reason in ('disabled', 'deleted')),
    blocked_at timestamptz not null
);
comment on table public.blocked_users is
    'Users that may not come in any more. No foreign key: a deleted user stays refused while tokens of theirs are valid.';

create table public.api_keys (
    key_id uuid primary key,
    user_id uuid not null references public.users (user_id) on delete cascade,
    name text not null,
    prefix text not null,
    key_hash text not null unique check (key_hash ~ '^[0-9a-f]{64}$'),
    scopes jsonb not null,
    created_at timestamptz not null,
    expires_at timestamptz,
    last_used_at timestamptz
);
comment on table public.api_keys is 'API keys: shown once when they are made, kept as a hash.';
comment on column public.api_keys.prefix is 'The first characters, by which the owner knows the key again.';
comment on column public.api_keys.key_hash is 'SHA-256 (hex); owners cannot read this column.';
comment on column public.api_keys.scopes is 'Some of read, write, admin.';
create index api_keys_owner on public.api_keys (user_id, created_at, key_id);

alter table public.local_accounts enable row level security;
alter table public.local_accounts force row level security;
revoke all on public.local_accounts from anon, authenticated, service_role;
grant select, insert, update, delete on public.local_accounts to service_role;
create policy local_accounts_service on public.local_accounts for all to service_role using (true) with check (true);

alter table public.refresh_tokens enable row level security;
alter table public.refresh_tokens force row level security;
revoke all on public.refresh_tokens from anon, authenticated, service_role;
grant select, insert, update, delete on public.refresh_tokens to service_role;
create policy refresh_tokens_service on public.refresh_tokens for all to service_role using (true) with check (true);

alter table public.blocked_users enable row level security;
alter table public.blocked_users force row level security;
revoke all on public.blocked_users from anon, authenticated, service_role;
grant select, insert, update, delete on public.blocked_users to service_role;
create policy blocked_users_service on public.blocked_users for all to service_role using (true) with check (true);

alter table public.api_keys enable row level security;
alter table public.api_keys force row level security;
revoke all on public.api_keys from anon, authenticated, service_role;
grant select, insert, update, delete on public.api_keys to service_role;
-- Every column but the hash: an owner lists the keys, and makes and revokes them through the server only.
grant select (key_id, user_id, name, prefix, scopes, created_at, expires_at, last_used_at)
    on public.api_keys to authenticated;
create policy api_keys_service on public.api_keys for all to service_role using (true) with check (true);
create policy api_keys_select on public.api_keys for select to authenticated
    using (user_id = (select auth.uid()));

create function public.block_deleted_user() returns trigger
    language plpgsql security definer set search_path = ''
as $$
begin
    insert into public.blocked_users (user_id, reason, blocked_at) values (old.user_id, 'deleted', now())
    on conflict (user_id) do update set reason = 'deleted', blocked_at = excluded.blocked_at;
    return null;
end
$$;
comment on function public.block_deleted_user is 'Keeps a deleted user out while access tokens of theirs are valid.';

-- A user of Supabase's is an owner here, and goes with everything when the account is deleted.
create function public.follow_auth_user() returns trigger
    language plpgsql security definer set search_path = ''
as $$
begin
    if tg_op = 'DELETE' then
        delete from public.users where user_id = old.id;
        return null;
    end if;
    if tg_op = 'INSERT' then
        -- An account that was restored under its old id may come in again.
        delete from public.blocked_users where user_id = new.id and reason = 'deleted';
    end if;
    insert into public.users (user_id, display_name)
    values (
        new.id,
        left(coalesce(new.raw_user_meta_data ->> 'display_name', new.raw_user_meta_data ->> 'full_name',
            new.raw_user_meta_data ->> 'name', ''), 200)
    )
    on conflict (user_id) do update set display_name = excluded.display_name
        where excluded.display_name <> '';
    return null;
end
$$;
comment on function public.follow_auth_user is 'Makes the rows of public.users follow those of auth.users.';

revoke all on function public.block_deleted_user from public, anon, authenticated;
revoke all on function public.follow_auth_user from public, anon, authenticated;
-- Owned by a role that passes row level security, which is forced on the tables' owner too.
grant create on schema public to service_role;
alter function public.block_deleted_user owner to service_role;
alter function public.follow_auth_user owner to service_role;
revoke create on schema public from service_role;

create trigger users_block_deleted after delete on public.users
    for each row execute function public.block_deleted_user();

-- Plain Postgres has no auth.users; there the server itself makes owners.
do $$
begin
    if to_regclass('auth.users') is not null then
        create trigger docatlas_follow_auth_user after insert or update of raw_user_meta_data or delete on auth.users
            for each row execute function public.follow_auth_user();
        insert into public.users (user_id, display_name)
        select id, left(coalesce(raw_user_meta_data ->> 'display_name', raw_user_meta_data ->> 'full_name',
            raw_user_meta_data ->> 'name', ''), 200)
        from auth.users
        on conflict (user_id) do nothing;
    end if;
end
$$;
