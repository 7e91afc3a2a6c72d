"""`sayso up`: the embedded default (design: Postgres as our own child, the inbox, three services, one Ctrl-C)."""
