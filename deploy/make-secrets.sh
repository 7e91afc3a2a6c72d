#!/bin/bash
# Fills a folder with the passwords and keys that deploy/compose.yaml refers to: `sudo deploy/make-secrets.sh DIRECTORY`.
#
# Each file is readable by the one user that needs it: Postgres's (999) or ours (10001). What is there already is kept, so
# that a second run after an update adds only what is new. Losing root.key loses every payload: back it up apart from the
# database, and never together with it.
set -euo pipefail

directory=${1:?usage: make-secrets.sh DIRECTORY}
postgres_user=999
sayso_user=10001
umask 077
mkdir -p "$directory"
# The containers' users must pass through it; the files themselves are closed.
chmod 711 "$directory"

password() {
    # Letters and digits only: it also stands in a URL.
    head -c 32 /dev/urandom | sha256sum | cut -c1-48
}

# keep NAME OWNER: writes standard input to the file unless it is there, whole or not at all.
keep() {
    local file=$directory/$1
    if [ -e "$file" ]; then
        cat > /dev/null
        return
    fi
    cat > "$file.new"
    chown "$2" "$file.new"
    mv "$file.new" "$file"
}

password | keep postgres_password "$postgres_user"
if [ ! -e "$directory/logins.sql" ]; then
    logins="-- Login roles of the processes, made by deploy/make-secrets.sh; what they may do stands in roles.sql and the schema."
    logins+=$'\n'"ALTER DATABASE sayso OWNER TO sayso_owner;"
    for role in owner ingest ledger query; do
        secret=$(password)
        logins+=$'\n'"CREATE ROLE sayso_${role}_1 LOGIN NOINHERIT PASSWORD '$secret' IN ROLE sayso_$role;"
        rm -f "$directory/${role}_database_url"
        echo "postgresql://sayso_${role}_1:$secret@postgres/sayso" | keep "${role}_database_url" "$sayso_user"
    done
    # Last: a run that stops before this line starts the logins anew.
    echo "$logins" | keep logins.sql "$postgres_user"
fi
for key in root event-ids capabilities epochs query-epochs notices receipts links; do
    head -c 32 /dev/urandom | keep "$key.key" "$sayso_user"
done
# Kafka takes an id that begins with a dash for an option.
head -c 16 /dev/urandom | base64 | tr '+/' '-_' | cut -c1-22 | sed 's/^-/A/' | keep kafka_cluster_id 0
echo "$directory is ready"
