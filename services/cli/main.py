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
from services.cli import catalogue, controllers, erasing, logs, notices, people, rotation, site_keys, sites

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
site_keys.app.add_typer(rotation.rotate_app, name="rotate")
site_keys.app.add_typer(rotation.retire_app, name="retire")
app.add_typer(people.app, name="person")
app.add_typer(notices.app, name="notice")
app.add_typer(logs.app, name="log")
app.add_typer(erasing.app, name="erasure")
app.add_typer(catalogue.app, name="catalogue")


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
def verify(  # noqa: PLR0913, PLR0917 - one argument an option
    file: Annotated[
        Path | None,
        typer.Argument(help="A proof, as JSON or .tlog-proof, a bundle, as zip or folder, an export's manifest.json."),
    ] = None,
    vkey: Annotated[
        list[str] | None,
        typer.Option(help="The log's verifier key, from a source other than the proof; several for --from and --log."),
    ] = None,
    origin: Annotated[str | None, typer.Option(help="The origin of the log you expect.")] = None,
    entry: Annotated[Path | None, typer.Option(help="The entry, for a tlog-proof that does not hold it.")] = None,
    old: Annotated[Path | None, typer.Option("--from", help="The older of two checkpoints you kept.")] = None,
    new: Annotated[Path | None, typer.Option("--to", help="The newer of two checkpoints you kept.")] = None,
    proof: Annotated[Path | None, typer.Option(help="The consistency proof between the two, as JSON.")] = None,
    log: Annotated[
        str | None,
        typer.Option(help="Directory or address of the log: its tiles are the proof; alone, all of it is verified."),
    ] = None,
    pinned: Annotated[
        bool, typer.Option("--pinned", help="With --log alone: no signature line may be by a key not given.")
    ] = False,
    keys: Annotated[list[Path] | None, typer.Option(help="Bundle: keys.json of its log, from elsewhere.")] = None,
    policy: Annotated[Path | None, typer.Option(help="Bundle: the witness policy to hold it to.")] = None,
    roots: Annotated[Path | None, typer.Option(help="Bundle: roots of timestamp authorities, PEM.")] = None,
    jwks: Annotated[Path | None, typer.Option(help="The keys that sign receipts, a JWK set.")] = None,
    identity: Annotated[Path | None, typer.Option(help="Export: the age identity that it was sealed to.")] = None,
) -> None:
    """Verify a proof of consent, an export, two checkpoints, or a whole log, offline; exit 0 only if it holds."""
    from schemas.bundle_check import Pins
    from schemas.verify import read_pins, report, verify_file
    from services.cli.verify import run_growth, run_mirror
    from services.cli.verify_export import is_manifest, verify_export

    vkeys = vkey or []
    if old is not None and new is not None and file is None:
        held = run_growth(old, new, vkeys=vkeys, origin=origin, proof=proof, place=log)
        raise typer.Exit(0 if held else EXIT_CHECK_FAILED)
    if log is not None and file is None and old is None and new is None:
        raise typer.Exit(0 if run_mirror(log, vkeys=vkeys, origin=origin, pinned=pinned) else EXIT_CHECK_FAILED)
    if file is None or old is not None or new is not None or log is not None:
        raise typer.BadParameter("give one proof or bundle, or --from and --to, or --log")
    try:
        pins = read_pins(vkeys[1:], keys or [], policy, roots, jwks)
        content = None if entry is None else entry.read_bytes()
        if is_manifest(file):
            whole = Pins((*vkeys[:1], *pins.vkeys), pins.policy, pins.roots, pins.jwks)
            steps = verify_export(file, whole, identity)
        else:
            steps = verify_file(file, vkeys[0] if vkeys else None, origin=origin, entry=content, pins=pins)
    except OSError as error:
        raise ConfigurationError(f"cannot read {error.filename}: {error.strerror}") from None
    except ValueError as error:
        raise ConfigurationError(str(error)) from None
    print(report(steps), end="")
    raise typer.Exit(EXIT_CHECK_FAILED if steps[-1].outcome == "failed" else 0)


@app.command()
def publish(
    log: Annotated[str, typer.Argument(help="The name of the log.")],
    target: Annotated[str, typer.Argument(help="A directory, or s3://BUCKET/PREFIX.")],
    follow: Annotated[bool, typer.Option("--follow", help="Go on: mirror every new checkpoint.")] = False,
) -> None:
    """Mirror a log to where a static server or a CDN serves it without us; only what is new is written."""
    from services.cli.publish.run import run_publish

    asyncio.run(run_publish(log, target, follow=follow))


@app.command()
def fsck(
    log: Annotated[str | None, typer.Option(help="Only this log and its controller's notices.")] = None,
    jobs: Annotated[int, typer.Option(min=1, max=64, help="Processes to check with, side by side.")] = 1,
    resume: Annotated[
        Path | None, typer.Option(help="Remember here what is finished; if a run was killed, go on where it was.")
    ] = None,
    report: Annotated[Path | None, typer.Option(help="Write the findings here as JSON.")] = None,
) -> None:
    """Recompute every log, tree, signature, payload and state from raw rows; exit 1 if anything does not fit."""
    from services.cli.integrity import run_fsck
    from services.ledger.fsck.check import Run

    raise typer.Exit(0 if run_fsck(Run(log, jobs, resume), report) else EXIT_CHECK_FAILED)


@app.command("import")
def import_file(
    file: Annotated[Path, typer.Argument(help="An export of another consent log, CSV or NDJSON.")],
    site: Annotated[str, typer.Option(help="The site whose people these are.")],
    key_file: Annotated[Path | None, typer.Option(help="File with the site's server key; - for input.")] = None,
    ingest: Annotated[str, typer.Option(help="Address of ingest.")] = "http://127.0.0.1:8080",
    preset: Annotated[str | None, typer.Option(help="onetrust, cookiebot, usercentrics, didomi or iubenda.")] = None,
    mapping: Annotated[Path | None, typer.Option(help="What the columns mean; over a preset, what differs.")] = None,
    report: Annotated[Path | None, typer.Option(help="Where refused lines are listed; beside FILE by default.")] = None,
    dry: Annotated[bool, typer.Option("--dry-run", help="Judge every line by the mapping; send nothing.")] = False,
) -> None:
    """Import what a site recorded elsewhere; started again after a kill, it goes on. Exit 0 if no line was refused."""
    from services.cli.importing.command import meaning_of, read_key, run_import
    from services.cli.importing.run import Import

    if key_file is None and not dry:
        raise ConfigurationError("give --key-file with the site's server key, or --dry-run")
    asked = Import(
        path=file,
        meaning=meaning_of(preset, mapping),
        site=site,
        ingest_url=ingest,
        key="" if key_file is None else read_key(key_file),
        report=file.with_name(file.name + ".refused.ndjson") if report is None else report,
    )
    raise typer.Exit(run_import(asked, dry=dry))


@app.command("restore-check")
def restore_check() -> None:
    """After a restore, before anything opens the database: erase again whom the backup brought back."""
    from services.cli.erasing import restore_check as apply_erasures

    applied = apply_erasures()
    for number, there in applied:
        print(f"erasure {number}: {'deleted again' if there else 'nothing of it was there'}")
    print(
        f"{len(applied)} erasures applied; services may open this database."
        if applied
        else "This database has every erasure of the suppression file; services may open it."
    )


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
