"""The access log: every look of a human at personal data, durable before the answer goes out."""
