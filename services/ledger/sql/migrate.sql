-- Statements of the migration runner.

-- take_lock --
-- One runner at a time; held until the connection closes.
SELECT pg_advisory_lock(hashtextextended('sayso.migrate', 0));

-- set_timeouts --
-- A migration that cannot get its locks quickly must fail rather than queue everybody behind it.
SET lock_timeout = '5s'; SET statement_timeout = '60s';

-- create_table --
-- What was applied, and with which bytes.
CREATE TABLE IF NOT EXISTS schema_migrations (
    version integer PRIMARY KEY,
    sha256 bytea NOT NULL,
    applied_at timestamptz NOT NULL DEFAULT now()
);

-- table_exists --
-- Whether any migration ever ran here.
SELECT to_regclass('public.schema_migrations') IS NOT NULL;

-- applied --
-- Versions this database has.
SELECT version, sha256 FROM schema_migrations ORDER BY version;

-- record --
-- Remember one applied file, in its own transaction.
INSERT INTO schema_migrations (version, sha256) VALUES ($1, $2);

-- roles_exist --
-- Whether deploy/postgres/roles.sql has been run.
SELECT count(*) = 4 FROM pg_roles WHERE rolname IN ('sayso_owner', 'sayso_ingest', 'sayso_ledger', 'sayso_query');
