"""The public side of the services catalogue: what it says, what a page needs of it, what a privacy policy says."""
