"""Grants: what a regulator may look at, from when until when; and the first wall around it."""
