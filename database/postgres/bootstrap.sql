-- What every Supabase project has and plain Postgres lacks: the roles of its API and the functions that say who asks.
-- Applied by `docatlas db upgrade` only where there is no schema `auth`; on Supabase nothing in here runs.
-- Source: supabase/postgres, migrations/db/init-scripts/00000000000000-initial-schema.sql (roles, extensions);
-- supabase/auth, migrations/20220224000811_update_auth_functions.up.sql (functions).
do $$
declare
    role_name text;
begin
    foreach role_name in array array['anon', 'authenticated', 'service_role'] loop
        if not exists (select from pg_roles where rolname = role_name) then
            execute format('create role %I nologin noinherit', role_name);
            if role_name = 'service_role' then
                alter role service_role bypassrls;
            end if;
        end if;
    end loop;
end
$$;

create schema if not exists extensions;
grant usage on schema extensions to anon, authenticated, service_role;
grant usage on schema public to anon, authenticated, service_role;
-- As since Postgres 15 by itself; older databases that were upgraded still let everybody create.
revoke create on schema public from public;

create schema auth;
comment on schema auth is 'Who asks: the part of Supabase''s schema of this name that Docatlas needs.';
grant usage on schema auth to anon, authenticated, service_role;

create function auth.uid() returns uuid language sql stable as $$
    select coalesce(
        nullif(current_setting('request.jwt.claim.sub', true), ''),
        (nullif(current_setting('request.jwt.claims', true), '')::jsonb ->> 'sub')
    )::uuid
$$;
comment on function auth.uid() is 'The subject of the token that the request came with; null without one.';

create function auth.role() returns text language sql stable as $$
    select coalesce(
        nullif(current_setting('request.jwt.claim.role', true), ''),
        (nullif(current_setting('request.jwt.claims', true), '')::jsonb ->> 'role')
    )::text
$$;
comment on function auth.role() is 'The role in the token that the request came with; null without one.';

create function auth.email() returns text language sql stable as $$
    select coalesce(
        nullif(current_setting('request.jwt.claim.email', true), ''),
        (nullif(current_setting('request.jwt.claims', true), '')::jsonb ->> 'email')
    )::text
$$;
comment on function auth.email() is 'The address in the token that the request came with; null without one.';

create function auth.jwt() returns jsonb language sql stable as $$
    select coalesce(
        nullif(current_setting('request.jwt.claim', true), ''),
        nullif(current_setting('request.jwt.claims', true), '')
    )::jsonb
$$;
comment on function auth.jwt() is 'Every claim of the token that the request came with.';
