"""Downstream systems as the controller's people arrange them, what they were told, and what they answered."""
