"""What TC and GPP strings say, beside the strings themselves: raw signals are kept as they came, decoded or not."""

from services.ingest.signals.reading import Signals, read_signals

__all__ = ["Signals", "read_signals"]
