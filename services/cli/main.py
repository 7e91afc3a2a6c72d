"""The console script `sayso`. A command that fails says so in one line: what is wrong and what to do.

Exit codes: 0 done, 1 a check did not hold, 2 wrong usage, 71 (EX_OSERR) the system refused something,
78 (EX_CONFIG) a setting, key or database is not as needed.
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

    applied = asyncio.run(admin.migrate(output.Progress()))
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


@app.command()
def verify(
    file: Annotated[Path, typer.Argument(help="The proof, as JSON or .tlog-proof.")],
    vkey: Annotated[
        str | None, typer.Option(help="The log's verifier key, from a source other than the proof.")
    ] = None,
    origin: Annotated[str | None, typer.Option(help="The origin of the log you expect.")] = None,
    entry: Annotated[Path | None, typer.Option(help="The entry, for a tlog-proof that does not hold it.")] = None,
) -> None:
    """Verify a proof of consent, offline; exit 0 only if it holds."""
    from schemas.verify import report, verify_file

    try:
        steps = verify_file(file, vkey, origin=origin, entry=None if entry is None else entry.read_bytes())
    except OSError as error:
        raise ConfigurationError(f"cannot read {error.filename}: {error.strerror}") from None
    except ValueError as error:
        raise ConfigurationError(str(error)) from None
    print(report(steps), end="")
    raise typer.Exit(EXIT_CHECK_FAILED if steps[-1].outcome == "failed" else 0)


@app.command()
def fsck(
    log: Annotated[str | None, typer.Option(help="Only this log and its controller's notices.")] = None,
) -> None:
    """Recompute every log, tree, signature, payload and state from raw rows; exit 1 if anything does not fit."""
    from services.cli.integrity import run_fsck

    raise typer.Exit(0 if run_fsck(log) else EXIT_CHECK_FAILED)


@app.command()
def rebuild() -> None:
    """Make the state of every subject anew from the records; safe beside a running ledger."""
    from services.cli.integrity import run_rebuild

    print(f"The state of {run_rebuild()} subjects was made anew from their records.")


@app.command()
def doctor() -> None:
    """Check database, keys, publisher, logs, high-water mark and stream; exit 1 if anything is not ok."""
    from services.cli.doctor import examine

    findings = asyncio.run(examine())
    for finding in findings:
        print(finding.line())
    raise typer.Exit(EXIT_CHECK_FAILED if any(finding.state == "not ok" for finding in findings) else 0)


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
    except OSError as error:
        place = "" if error.filename is None else f" ({error.filename})"
        print(f"error: the system says: {error.strerror}{place}", file=sys.stderr)
        sys.exit(os.EX_OSERR)


if __name__ == "__main__":
    main()
