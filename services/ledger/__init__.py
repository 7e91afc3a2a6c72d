"""stream -> chain -> Postgres: the only writer of records, the only holder of the logs' signing keys."""
