"""Erasure and its aftermath: what goes, what is stated, what a restore must do again, what ends by itself."""
