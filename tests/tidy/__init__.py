"""House rules about the repository itself, each shown failing on a bad sample."""
