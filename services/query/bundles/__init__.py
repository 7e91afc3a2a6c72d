"""Proof bundles and certificates: everything that a stranger needs, in one zip."""
