"""Golden and mutated proof documents; generate.py writes the files."""
