"""The command line `sayso`: the operator's commands, the foreground services, and the embedded run. On top of all."""
