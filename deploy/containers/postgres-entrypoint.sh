#!/bin/bash
# The part of the postgres image's entry point that its users rely on: POSTGRES_USER, POSTGRES_PASSWORD, POSTGRES_DB and
# POSTGRES_HOST_AUTH_METHOD at the first start, `postgres ARGUMENTS` as the command, every scripted file in initdb.d.
set -euo pipefail

if [ "$(id -u)" = 0 ]; then
    install -d -o postgres -g postgres -m 0700 "$PGDATA"
    chown -R postgres:postgres /var/lib/postgresql
    exec setpriv --reuid=postgres --regid=postgres --init-groups "$0" "$@"
fi

user=${POSTGRES_USER:-postgres}
database=${POSTGRES_DB:-$user}
method=${POSTGRES_HOST_AUTH_METHOD:-scram-sha-256}

if [ ! -s "$PGDATA/PG_VERSION" ]; then
    if [ -z "${POSTGRES_PASSWORD:-}" ] && [ "$method" != trust ]; then
        echo "set POSTGRES_PASSWORD, or POSTGRES_HOST_AUTH_METHOD=trust" >&2
        exit 1
    fi
    # Built beside, then renamed: a kill in the middle leaves no half cluster that looks whole.
    rm -rf "$PGDATA.new"
    initdb -D "$PGDATA.new" -U "$user" --data-checksums --encoding=UTF8 --locale=C.UTF-8 \
        --pwfile=<(printf '%s\n' "${POSTGRES_PASSWORD:-unused}") -A trust --no-instructions
    printf 'host all all all %s\n' "$method" >> "$PGDATA.new/pg_hba.conf"
    printf "listen_addresses = '*'\n" >> "$PGDATA.new/postgresql.conf"
    pg_ctl -D "$PGDATA.new" -w -o "-c listen_addresses='' -k /tmp" start
    if [ "$database" != postgres ]; then
        createdb -h /tmp -U "$user" "$database"
    fi
    for script in /docker-entrypoint-initdb.d/*.sql; do
        [ -e "$script" ] && psql -v ON_ERROR_STOP=1 -h /tmp -U "$user" -d "$database" -f "$script"
    done
    pg_ctl -D "$PGDATA.new" -m fast -w stop
    rmdir "$PGDATA"
    mv "$PGDATA.new" "$PGDATA"
fi

exec "$@" -k /tmp
