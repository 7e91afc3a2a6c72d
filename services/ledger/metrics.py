"""What the ledger tells Prometheus: counts and times, never anything about a person."""

from typing import Final

from prometheus_client import CollectorRegistry, start_http_server

from services.ledger.batch import Counts
from services.observability import counter, gauge, histogram

_BATCH_SECONDS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0)


class LedgerMetrics:
    """One registry a process."""

    def __init__(self) -> None:
        """Every series starts at zero, so that an alarm on its increase works from the first event on."""
        registry = self.registry = CollectorRegistry()
        self.recorded = counter(registry, "sayso_ledger_recorded", "Events recorded.")
        self.duplicates = counter(registry, "sayso_ledger_duplicates", "Copies of events that were recorded already.")
        self.set_aside = counter(registry, "sayso_ledger_dead_letters", "Messages set aside, by reason.", ("reason",))
        self.checkpoints = counter(registry, "sayso_ledger_checkpoints", "Checkpoints published.")
        self.halted = gauge(registry, "sayso_ledger_halted", "1 while the database contradicts what was signed.")
        self.recording = gauge(registry, "sayso_ledger_recording", "1 while this ledger records and signs.")
        self.partitions_stopped = counter(
            registry, "sayso_ledger_partitions_stopped", "Partitions stopped because their position is not valid."
        )
        self.batch_seconds = histogram(
            registry, "sayso_ledger_batch_seconds", "Time of one recording transaction.", _BATCH_SECONDS
        )

    def count(self, counts: Counts) -> None:
        """Add one committed batch."""
        self.recorded.inc(counts.recorded)
        self.duplicates.inc(counts.duplicates)
        for reason in counts.set_aside:
            self.set_aside.labels(reason).inc()

    def serve(self, host: str, port: int) -> None:
        """Listen in a thread of its own, so that a busy recorder still answers."""
        start_http_server(port, addr=host, registry=self.registry)
