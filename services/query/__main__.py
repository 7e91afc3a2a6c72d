"""`python -m services.query`: settings from the environment, serve until SIGTERM; exit 78: may not start."""

import asyncio
import sys
from typing import Final

import uvicorn
from pydantic import ValidationError

from schemas.errors import ConfigurationError
from services.observability import configure_logging
from services.postgres import DATABASE_AWAY, create_pool
from services.query.app import create_app
from services.query.settings import QuerySettings

EX_TEMPFAIL: Final = 75
EX_CONFIG: Final = 78


async def _serve(settings: QuerySettings) -> None:
    app = create_app(settings)
    # A database that must not be used is found before the port is taken, and said in one line.
    pool = await create_pool(
        settings.database_url.get_secret_value(), role="sayso_query", size=1, application="sayso query"
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
    await uvicorn.Server(config).serve()


def main() -> int:
    configure_logging("query")
    try:
        settings = QuerySettings()
        asyncio.run(_serve(settings))
    except ValidationError as error:
        wrong = sorted({f"SAYSO_{str(e['loc'][0]).upper()}" for e in error.errors(include_input=False)})
        sys.stderr.write(f"sayso query: missing or not valid: {', '.join(wrong)}\n")
        return EX_CONFIG
    except ConfigurationError as error:
        sys.stderr.write(f"sayso query: {error}\n")
        return EX_CONFIG
    except DATABASE_AWAY as error:
        sys.stderr.write(
            f"sayso query: the database does not answer ({type(error).__name__}); start it, then try again\n"
        )
        return EX_TEMPFAIL
    return 0


if __name__ == "__main__":
    sys.exit(main())
