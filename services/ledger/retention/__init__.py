"""Retention: what the controller's written rules take of records when their time is up (docs/retention.md)."""
