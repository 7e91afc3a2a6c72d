-- The four roles of Sayso, made once per cluster by a superuser before the first `sayso migrate`.
-- They cannot log in: grant them to login roles of your own (GRANT sayso_ingest TO ingest_1;), so that passwords
-- and certificates stay where you keep them. Running this twice changes nothing.
DO $$
BEGIN
    -- Owns the schema and its functions; used by `sayso migrate` and by the operator's commands alone.
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'sayso_owner') THEN
        CREATE ROLE sayso_owner NOLOGIN;
    END IF;
    -- Internet-facing: reads site keys and notices of one controller at a time, inserts into the inbox.
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'sayso_ingest') THEN
        CREATE ROLE sayso_ingest NOLOGIN;
    END IF;
    -- The only writer of records. BYPASSRLS because COPY and row-level security exclude each other.
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'sayso_ledger') THEN
        CREATE ROLE sayso_ledger NOLOGIN BYPASSRLS;
    END IF;
    -- Reads the records of one controller at a time.
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'sayso_query') THEN
        CREATE ROLE sayso_query NOLOGIN;
    END IF;
END
$$;
