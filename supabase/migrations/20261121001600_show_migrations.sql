-- The server looks at its start whether every migration is applied. Both tools have made the table by then.
do $$
begin
    if to_regclass('supabase_migrations.schema_migrations') is not null then
        grant usage on schema supabase_migrations to service_role;
        grant select on supabase_migrations.schema_migrations to service_role;
    end if;
end
$$;
