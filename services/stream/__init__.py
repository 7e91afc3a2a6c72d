"""The stream between ingest and the ledger: one protocol with its guarantees in prose, two implementations of it."""
