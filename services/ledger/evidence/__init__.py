"""Evidence from outside: witnesses who cosign checkpoints, and authorities who timestamp them."""
