"""Notices over the API: a DPO publishes their source, lists them, and ties words seen on a page to one of them."""
