"""Query's side of legal holds: place, review and release them; tell whom they concern as far as the law lets."""
