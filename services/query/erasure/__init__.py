"""Query's side of erasure: ask for it, say what became of it, release what a written rule kept."""
