"""`python -m services.ingest`: settings from the environment, one uvicorn process, exit code 78 if it must not run."""

import gc
import os
import signal
import sys
from types import FrameType

import uvicorn
from pydantic import ValidationError

from schemas.errors import ConfigurationError
from services.ingest.app import create_app
from services.ingest.settings import IngestSettings
from services.ingest.whole_answers import WholeAnswers
from services.keys.memory import keep_memory_private
from services.observability import configure_logging, get_logger

DRAIN_S = 5
# Container objects between two looks for cycles. A request makes many objects and, unless it is refused, no cycle;
# Python's default of 700 would spend an eighth of the CPU time on looking.
GC_OBJECTS = 50_000


def main() -> int:
    """Run until a signal ends it; the exit code."""
    keep_memory_private()
    configure_logging("ingest")
    try:
        settings = _settings()
        app = create_app(settings)
    except ConfigurationError as refusal:
        return _refuse(refusal)
    server = uvicorn.Server(
        uvicorn.Config(
            app,
            host=settings.ingest_host,
            port=settings.ingest_port,
            loop="uvloop",
            http=WholeAnswers,
            ws="none",
            lifespan="on",
            log_config=None,
            access_log=False,
            server_header=False,
            # services/ingest/networks.py finds out whom a proxy speaks for; uvicorn would believe any on this machine.
            proxy_headers=False,
            timeout_graceful_shutdown=DRAIN_S,
        )
    )
    for ending in (signal.SIGINT, signal.SIGTERM):
        # uvicorn drains, then raises the signal again for whoever was there before: an ordered end is no failure.
        signal.signal(ending, _ended)
    gc.collect()
    gc.freeze()
    gc.set_threshold(GC_OBJECTS)
    try:
        server.run()
    except SystemExit:
        if app.refusal is None:
            raise
        return _refuse(app.refusal)
    return os.EX_OK


def _ended(signal_number: int, _frame: FrameType | None) -> None:
    get_logger().info("ingest stops", signal=signal_number)


def _settings() -> IngestSettings:
    try:
        return IngestSettings()
    except ValidationError as error:
        names = sorted({f"SAYSO_{str(detail['loc'][0]).upper()}" for detail in error.errors(include_input=False)})
        raise ConfigurationError(f"not set or not valid: {', '.join(names)}; see deploy/env.example") from None


def _refuse(refusal: ConfigurationError) -> int:
    get_logger().error("ingest refuses to start", detail=str(refusal))
    return os.EX_CONFIG


if __name__ == "__main__":
    sys.exit(main())
