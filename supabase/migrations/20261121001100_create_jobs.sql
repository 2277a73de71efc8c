-- The jobs table is the truth about the work; a message to a worker carries a job's id only.
create table public.jobs (
    job_id uuid primary key,
    user_id uuid not null references public.users (user_id) on delete cascade,
    document_id uuid,
    type text not null,
    status text not null check (status in
        ('queued', 'in_progress', 'completed', 'completed_with_errors', 'failed', 'cancelling', 'cancelled')),
    stage text,
    percent double precision not null check (percent between 0 and 100),
    pages_done integer not null,
    pages_total integer not null,
    attempts integer not null check (attempts >= 0),
    generation integer not null check (generation >= 0),
    options jsonb not null,
    warnings jsonb not null,
    error jsonb,
    created_at timestamptz not null,
    started_at timestamptz,
    heartbeat_at timestamptz,
    finished_at timestamptz,
    run_after timestamptz,
    worker_id text,
    foreign key (document_id, user_id) references public.documents_metadata (document_id, user_id) on delete cascade
);
comment on table public.jobs is 'Work on documents: what is queued, under way and done.';
comment on column public.jobs.generation is 'The reading of the document that the job writes.';
comment on column public.jobs.worker_id is '<node>.<run> of the worker that holds the job; null while none does.';
comment on column public.jobs.error is 'The problem that ended the job: {kind, code, detail, retryable}.';

create unique index jobs_generation on public.jobs (document_id, generation) where document_id is not null;
create index jobs_newest on public.jobs (user_id, created_at, job_id);
create index jobs_document on public.jobs (document_id, user_id);
create index jobs_status on public.jobs (status, created_at, job_id);
