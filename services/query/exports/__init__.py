"""Exports: jobs that write many records to files, with one signed manifest for all of them."""
