"""Golden and mutated test vectors of every format here, with the scripts that made them."""
