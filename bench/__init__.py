"""What we measure, each row beside the limit of the same machine in the same run: `python -m bench [--quick]`.

Rows 1 to 4 of the design's section 6. Everything is real: Apache Kafka, Postgres, the services as processes.
"""
