"""Access keys over HTTP: an administrator makes, lists, replaces and revokes them."""
