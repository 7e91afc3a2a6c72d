"""What the ledger tells Prometheus: counts and times, never anything about a person."""

import time
from collections.abc import Iterable
from functools import partial
from typing import Final

from prometheus_client import CollectorRegistry, start_http_server

from services.ledger.batch import Counts
from services.ledger.downstream.webhooks import Ended
from services.ledger.figures import ACTS_COUNTED
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
        self.dropped = counter(
            registry, "sayso_ledger_dropped", "Events from before the erasure of somebody they name, not recorded."
        )
        self._count_people(registry)
        self.requests_overdue = gauge(
            registry, "sayso_requests_overdue", "Requests of people whose day is over and that nobody answered."
        )
        self.checkpoints = counter(registry, "sayso_ledger_checkpoints", "Checkpoints published.")
        self.halted = gauge(registry, "sayso_ledger_halted", "1 while the database contradicts what was signed.")
        self.recording = gauge(registry, "sayso_ledger_recording", "1 while this ledger records and signs.")
        self.partitions_stopped = counter(
            registry, "sayso_ledger_partitions_stopped", "Partitions stopped because their position is not valid."
        )
        self.cosignatures = counter(
            registry, "sayso_ledger_cosignatures", "Answers of witnesses, by how they ended.", ("witness", "outcome")
        )
        self.uncosigned = gauge(
            registry,
            "sayso_ledger_uncosigned_logs",
            "Logs whose last checkpoint a witness has not cosigned.",
            ("witness",),
        )
        self._cosignature_age = gauge(
            registry,
            "sayso_ledger_seconds_since_cosignature",
            "Time since a witness last cosigned anything, or since the start.",
            ("witness",),
        )
        # Monotonic seconds of each witness's last cosignature; read by the thread that serves the metrics.
        self._cosigned_at: dict[str, float] = {}
        self.timestamps = counter(
            registry,
            "sayso_ledger_timestamps",
            "Answers of timestamp authorities, by outcome.",
            ("authority", "outcome"),
        )
        self._timestamp_age = gauge(
            registry,
            "sayso_ledger_seconds_since_timestamp",
            "Time since an authority last gave a token that verifies, or since the start.",
            ("authority",),
        )
        # Monotonic seconds of each authority's last token; read by the thread that serves the metrics.
        self._timestamped_at: dict[str, float] = {}
        self.deliveries = counter(
            registry, "sayso_ledger_deliveries", "Attempts to deliver to downstream systems, by outcome.", ("outcome",)
        )
        for outcome in Ended:
            self.deliveries.labels(outcome)
        self.deliveries_waiting = gauge(
            registry, "sayso_ledger_deliveries_waiting", "Messages that a downstream system has not taken yet."
        )
        self.deliveries_dead = gauge(
            registry, "sayso_ledger_deliveries_dead", "Messages that were given up: dead letters of downstream systems."
        )
        self.triggers_overdue = gauge(
            registry, "sayso_ledger_triggers_overdue", "Triggers that a system should have answered by now."
        )
        self.batch_seconds = histogram(
            registry, "sayso_ledger_batch_seconds", "Time of one recording transaction.", _BATCH_SECONDS
        )

    def _count_people(self, registry: CollectorRegistry) -> None:
        """What they did, and what became of their data."""
        self.acts = counter(
            registry, "sayso_ledger_acts", "What people did, as the figures count it; of all controllers.", ("act",)
        )
        for act in ACTS_COUNTED:
            self.acts.labels(act)
        self.erasures = counter(registry, "sayso_ledger_erasures", "Subjects erased.")
        self.held = counter(registry, "sayso_ledger_erasures_held", "Erasures that a hold stopped.")

    def count(self, counts: Counts) -> None:
        """Add one committed batch."""
        self.recorded.inc(counts.recorded)
        self.duplicates.inc(counts.duplicates)
        self.dropped.inc(counts.dropped)
        self.erasures.inc(counts.erasures)
        self.held.inc(counts.held)
        for (*_, act), number in counts.figures.items():
            self.acts.labels(act).inc(number)
        for reason in counts.set_aside:
            self.set_aside.labels(reason).inc()

    def watch_witnesses(self, names: Iterable[str], outcomes: Iterable[str]) -> None:
        """Begin the series of these witnesses; their clocks start now."""
        kinds = list(outcomes)
        for name in names:
            for outcome in kinds:
                self.cosignatures.labels(name, outcome)
            self.cosigned_now(name)
            self._cosignature_age.labels(name).set_function(partial(self._since_cosigned, name))

    def cosigned_now(self, name: str) -> None:
        """A witness has cosigned."""
        self._cosigned_at[name] = time.monotonic()

    def _since_cosigned(self, name: str) -> float:
        return time.monotonic() - self._cosigned_at[name]

    def watch_authorities(self, names: Iterable[str], outcomes: Iterable[str]) -> None:
        """Begin the series of these timestamp authorities; their clocks start now."""
        kinds = list(outcomes)
        for name in names:
            for outcome in kinds:
                self.timestamps.labels(name, outcome)
            self._timestamped_at.setdefault(name, time.monotonic())
            self._timestamp_age.labels(name).set_function(partial(self._since_timestamped, name))

    def timestamped(self, name: str, at: float) -> None:
        """An authority gave a token that verifies, at this monotonic time."""
        self._timestamped_at[name] = at

    def _since_timestamped(self, name: str) -> float:
        return time.monotonic() - self._timestamped_at[name]

    def serve(self, host: str, port: int) -> None:
        """Listen in a thread of its own, so that a busy recorder still answers."""
        start_http_server(port, addr=host, registry=self.registry)
