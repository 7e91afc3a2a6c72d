"""Bulk checks: one question about one purpose of a long list of people, answered as `status` answers each."""
