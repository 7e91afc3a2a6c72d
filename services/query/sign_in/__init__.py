"""Sign-in of the controllers' own people with the deployment's OpenID provider, and the sessions that begin with it."""
