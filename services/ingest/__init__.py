"""HTTP -> stream. Internet-facing: reads site keys and notices, seals events, and cannot read back what it sent."""
