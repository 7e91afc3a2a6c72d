"""Logs and metrics of every process: JSON lines on stdout and Prometheus text, neither with anything personal.

Invariant: a log line holds only the keys listed here, whatever a caller passes, and never the message or the arguments
of an exception or of a library, because those quote values (asyncpg's DETAIL, asyncio's reprs).
"""

import logging
import traceback
from collections.abc import Mapping, MutableMapping, Sequence
from typing import Any, Final

import orjson
import structlog
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from structlog.typing import FilteringBoundLogger, WrappedLogger

from schemas.errors import SaysoError

# Everything a log line may hold. Names of things that the operator chose, counts, places and reasons; no subject, no
# identifier, no address, no event id, no key. Adding one means asking: could a person stand in it?
LOG_KEYS: Final[frozenset[str]] = frozenset(
    {
        "event",
        "level",
        "timestamp",
        "service",
        "version",
        "error",
        "detail",
        "trace",
        "incident",
        "request_id",
        "library",
        "where",
        "template",
        "method",
        "route",
        "status",
        "problem",
        "reason",
        "role",
        "key_kind",
        "controller",
        "log",
        "site",
        "origin",
        "topic",
        "partition",
        "transport",
        "offset",
        "index",
        "size",
        "epoch",
        "publisher",
        "witness",
        "authority",
        "sealing_key",
        "language",
        "address",
        "path",
        "setting",
        "pid",
        "signal",
        "attempt",
        "backoff_s",
        "count",
        "bytes",
        "duration_ms",
        "duration_s",
        "lag_s",
        "limit",
        "deadline_s",
        "dependency",
        "outcome",
        "state",
        "records",
        "letters",
        "messages",
        "pending",
    }
)
_TEXT_CHARS_MAX: Final = 500
_FRAMES_MAX: Final = 12

# Labels that metrics may carry: few values each, none of them a person's.
METRIC_LABELS: Final[frozenset[str]] = frozenset(
    {
        "act",
        "authority",
        "controller",
        "language",
        "log",
        "method",
        "outcome",
        "partition",
        "problem",
        "reason",
        "route",
        "site",
        "status",
        "transport",
        "witness",
    }
)


def keep_listed(_logger: WrappedLogger, _method: str, line: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Drop every key that is not listed and every value that is not plain; the last word before a line is printed."""
    return {key: _plain(value) for key, value in line.items() if key in LOG_KEYS}


def _plain(value: object) -> object:
    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, str):
        return value[:_TEXT_CHARS_MAX]
    # A repr can hold anything; the type says enough to find the mistake.
    return type(value).__name__


def describe(error: BaseException) -> dict[str, str]:
    """What may be said of an exception: its class, where it rose, and the message only if we wrote it."""
    frames = traceback.extract_tb(error.__traceback__)[-_FRAMES_MAX:]
    said = {
        "error": type(error).__name__,
        "trace": " < ".join(f"{frame.filename.rpartition('/')[2]}:{frame.lineno}" for frame in reversed(frames)),
    }
    if isinstance(error, SaysoError):
        said["detail"] = str(error)
    return said


class _LibraryHandler(logging.Handler):
    """Lines of libraries: who, where and the unfilled template, never what was filled in. Our own are taken whole."""

    def emit(self, record: logging.LogRecord) -> None:
        error = record.exc_info[1] if record.exc_info else None
        said = describe(error) if error is not None else {}
        if record.name.startswith("services."):
            structlog.get_logger().log(record.levelno, record.getMessage(), where=record.name, **said)
            return
        # Without arguments the message may have been filled in already.
        template = str(record.msg) if record.args else None
        where = f"{record.module}:{record.lineno}"
        structlog.get_logger().log(
            record.levelno, "library", library=record.name, where=where, template=template, **said
        )


def configure_logging(service: str, *, level: int = logging.INFO) -> None:
    """One JSON object a line on stdout, for our own loggers and for every library's; called once at start."""
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            keep_listed,
            structlog.processors.JSONRenderer(serializer=_serialize),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.PrintLoggerFactory(),
        cache_logger_on_first_use=False,
    )
    structlog.contextvars.clear_contextvars()
    structlog.contextvars.bind_contextvars(service=service)
    root = logging.getLogger()
    root.handlers = [_LibraryHandler()]
    root.setLevel(logging.WARNING)
    logging.getLogger("services").setLevel(level)
    for name in ("uvicorn", "uvicorn.error", "uvicorn.access"):
        logging.getLogger(name).handlers = []
        logging.getLogger(name).propagate = True
    # A line a request would cost more than the request, and would hold the URL.
    logging.getLogger("uvicorn.access").disabled = True


def _serialize(line: Mapping[str, Any], **_options: Any) -> str:
    return orjson.dumps(line).decode()


def get_logger() -> FilteringBoundLogger:
    """Log constant sentences: `log.info("batch recorded", log=name, count=n)`."""
    logger: FilteringBoundLogger = structlog.get_logger()
    return logger


def counter(registry: CollectorRegistry, name: str, documentation: str, labels: Sequence[str] = ()) -> Counter:
    return Counter(name, documentation, _listed(labels), registry=registry)


def gauge(registry: CollectorRegistry, name: str, documentation: str, labels: Sequence[str] = ()) -> Gauge:
    return Gauge(name, documentation, _listed(labels), registry=registry)


def histogram(
    registry: CollectorRegistry,
    name: str,
    documentation: str,
    buckets: Sequence[float],
    labels: Sequence[str] = (),
) -> Histogram:
    return Histogram(name, documentation, _listed(labels), registry=registry, buckets=buckets)


def _listed(labels: Sequence[str]) -> Sequence[str]:
    unknown = set(labels) - METRIC_LABELS
    if unknown:
        raise ValueError(f"metric labels {sorted(unknown)} are not listed in METRIC_LABELS")
    return labels


def render_metrics(registry: CollectorRegistry) -> tuple[bytes, str]:
    """The text that Prometheus scrapes, and its content type."""
    return generate_latest(registry), CONTENT_TYPE_LATEST
