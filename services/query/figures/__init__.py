"""Rates of consent, refusal and withdrawal, from counts in which nobody can be found."""
