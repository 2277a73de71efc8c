-- Rows of the local stack (`supabase db reset`) and of `supabase db push --include-seed`; safe to run again, no secret.
-- The one owner without accounts, whom the first migration makes too: here after somebody has emptied the table.
insert into public.users (user_id, display_name)
values ('00000000-0000-7000-8000-000000000001', 'local')
on conflict (user_id) do nothing;
