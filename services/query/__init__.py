"""Postgres to people: answers and proofs over HTTP. Reads; writes nothing. Imports neither ingest nor ledger."""
