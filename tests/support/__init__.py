"""Real Postgres and Apache Kafka for tests, and the means to hurt them: started, killed, cut off, cleaned up."""
