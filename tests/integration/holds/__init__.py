"""Holds, acts of two people, restrictions, what an objector leaves: a ledger and query over one Postgres."""
