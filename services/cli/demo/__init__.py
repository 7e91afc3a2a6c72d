"""The demo that is real: a controller, two sites, notices in four languages, people who choose; over public APIs."""
