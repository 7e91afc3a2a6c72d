"""Retention rules of a controller, runs of them, and what a person is told of both (docs/retention.md)."""
