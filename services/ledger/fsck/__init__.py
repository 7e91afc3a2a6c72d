"""Recompute everything from raw rows, say what does not fit: chain, tree, signatures, payloads, notices, state, acts.

Invariant: fsck trusts no stored hash. It reads through snapshots, writes nothing there, and goes on after a finding, so
that one changed byte is one finding where it lies and not a hundred where it shows.
"""
