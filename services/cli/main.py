"""The console script `sayso`. A command that fails says so in one line: what is wrong and what to do.

Exit codes: 0 done, 1 a check did not hold, 2 wrong usage, 78 (EX_CONFIG) a setting, key or database is not as needed.
"""

import asyncio
import os
import sys
from pathlib import Path
from typing import Annotated, Final

import typer

from schemas.errors import ConfigurationError, SaysoError
from services.cli import controllers, notices, site_keys, sites

EXIT_CHECK_FAILED: Final = 1

app = typer.Typer(
    name="sayso",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    help="Sayso proves who agreed to what, when, to which words, and whether they still do.",
)
app.add_typer(controllers.app, name="controller")
app.add_typer(sites.app, name="site")
app.add_typer(site_keys.app, name="key")
app.add_typer(notices.app, name="notice")


@app.command()
def up(
    demo: Annotated[bool, typer.Option("--demo", help="Set up and play the demo, with checks.")] = False,
    once: Annotated[bool, typer.Option("--once", help="Stop when everything was checked; exit 0 if all held.")] = False,
    directory: Annotated[Path, typer.Option(help="Where data, keys and logs are kept.")] = Path(".sayso"),
) -> None:
    """Run everything on this machine: Postgres, ingest, ledger and query. Ctrl-C stops all of it."""
    from services.cli.up.command import run_up

    raise typer.Exit(run_up(directory, demo=demo, once=once))


@app.command()
def migrate() -> None:
    """Bring the database to this version's schema."""
    from services.cli import admin, output
    from services.ledger.migrate import migrate as apply_migrations

    applied = asyncio.run(apply_migrations(admin.admin_dsn(), output.Progress()))
    print(f"{len(applied)} migrations applied." if applied else "Nothing to do: the schema is current.")


@app.command()
def ingest() -> None:
    """Run ingest in the foreground; settings come from the environment (deploy/env.example)."""
    from services.ingest.__main__ import main as serve

    raise typer.Exit(serve())


@app.command()
def ledger() -> None:
    """Run a ledger in the foreground; settings come from the environment (deploy/env.example)."""
    from services.ledger.__main__ import main as serve

    raise typer.Exit(serve())


@app.command()
def query() -> None:
    """Run query in the foreground; settings come from the environment (deploy/env.example)."""
    from services.query.__main__ import main as serve

    raise typer.Exit(serve())


def main() -> None:
    """Run the command line; never a traceback for what an operator can cause."""
    try:
        app()
    except ConfigurationError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(os.EX_CONFIG)
    except SaysoError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(EXIT_CHECK_FAILED)
