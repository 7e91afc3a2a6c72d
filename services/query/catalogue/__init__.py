"""A controller's own side of the services catalogue: what it states of services, and its compliance steps."""
