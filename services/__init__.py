"""The three services and the few modules they share; a service never imports another."""
