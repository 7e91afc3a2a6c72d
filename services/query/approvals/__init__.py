"""Acts that need two people: one asks, another decides, and the process does it when its time has come."""
