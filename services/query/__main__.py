"""`python -m services.query`: settings from the environment, serve until SIGTERM; exit 78: may not start."""

import os
import signal
import sys

import uvicorn
import uvloop
from pydantic import ValidationError

from schemas.errors import ConfigurationError
from services.keys.memory import keep_memory_private
from services.observability import configure_logging, describe, get_logger
from services.postgres import DATABASE_AWAY, create_pool
from services.query.app import create_app
from services.query.settings import QuerySettings
from services.suppression import Suppression


async def serve(settings: QuerySettings) -> None:
    """Serve until SIGTERM or SIGINT, which uvicorn takes: requests at hand are answered first."""
    app = create_app(settings)
    # A database that must not be used is found before the port is taken, and said in one line.
    pool = await create_pool(
        settings.database_url.get_secret_value(),
        role="sayso_query",
        size=1,
        application="sayso query",
        on_connect=Suppression(settings.suppression_dir).check,
    )
    await pool.close()
    config = uvicorn.Config(
        app,
        host=settings.query_host,
        port=settings.query_port,
        # Paths hold subject ids: the access log stays off, and our own lines hold no path.
        access_log=False,
        log_config=None,
        server_header=False,
    )
    for number in (signal.SIGTERM, signal.SIGINT):
        # uvicorn takes the signals while it serves and raises them again when it is done: we are leaving by then.
        signal.signal(number, lambda *_: None)
    await uvicorn.Server(config).serve()


def main() -> int:
    """Exit code: 0 stopped, 75 (EX_TEMPFAIL) no database yet, 78 (EX_CONFIG) refused to start."""
    keep_memory_private()
    configure_logging("query")
    try:
        settings = QuerySettings()
    except ValidationError as error:
        names = sorted({f"SAYSO_{problem['loc'][0]}".upper() for problem in error.errors(include_input=False)})
        get_logger().error("Refusing to start: settings are missing or not valid.", reason=", ".join(names))
        return os.EX_CONFIG
    try:
        uvloop.run(serve(settings))
    except ConfigurationError as error:
        get_logger().error("Refusing to start.", **describe(error))
        return os.EX_CONFIG
    except DATABASE_AWAY as error:
        get_logger().error("Cannot start: the database does not answer.", error=type(error).__name__)
        return os.EX_TEMPFAIL
    return 0


if __name__ == "__main__":
    sys.exit(main())
