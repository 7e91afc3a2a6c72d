"""`sayso import`: what a site recorded elsewhere before it had Sayso, line by line, with the site's own server key."""
