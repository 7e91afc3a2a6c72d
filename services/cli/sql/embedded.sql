-- What `sayso up` sets up in its own cluster, as the superuser, beyond deploy/postgres/roles.sql.

-- make_logins --
-- One login a process: each can take on its own role and no other. They need no password: the socket's folder is closed.
DO $$
DECLARE
    login record;
BEGIN
    FOR login IN
        SELECT * FROM (VALUES ('ingest', 'sayso_ingest'), ('ledger', 'sayso_ledger'), ('query', 'sayso_query'),
                              ('operator', 'sayso_owner')) AS logins (name, role)
    LOOP
        IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = login.name) THEN
            EXECUTE format('CREATE ROLE %I LOGIN NOINHERIT IN ROLE %I', login.name, login.role);
        END IF;
    END LOOP;
END
$$;

-- database_exists --
-- Whether an earlier start made the database.
SELECT EXISTS (SELECT FROM pg_database WHERE datname = 'sayso');

-- make_database --
-- The database of everything, owned by the role that owns the schema.
CREATE DATABASE sayso OWNER sayso_owner;

-- checksums --
-- Whether the cluster notices a page that the disk gave back changed.
SELECT current_setting('data_checksums') = 'on';
