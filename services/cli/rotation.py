"""`sayso key rotate` and `sayso key retire`: new keys in the place of old ones, while everything goes on.

Acts as the ledger: reads SAYSO_DATABASE_URL (a login that may SET ROLE sayso_ledger) and the ledger's key settings.
"""

import asyncio
import re
from collections.abc import Coroutine
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Final

import typer

from schemas.errors import ConfigurationError, KeyProviderAway

rotate_app = typer.Typer(no_args_is_help=True, help="Put a new key in the place of one in use.")
retire_app = typer.Typer(no_args_is_help=True, help="Destroy the private half of a key that has ended.")

_DURATION: Final = re.compile(r"(?P<count>\d{1,5})(?P<unit>[mhd])")
_UNITS: Final = {"m": timedelta(minutes=1), "h": timedelta(hours=1), "d": timedelta(days=1)}


def duration(text: str) -> timedelta:
    """`90m`, `12h` or `7d`. Raises ConfigurationError."""
    match = _DURATION.fullmatch(text)
    if match is None:
        raise ConfigurationError("a duration is a number and m, h or d: 90m, 12h, 7d")
    return int(match["count"]) * _UNITS[match["unit"]]


@rotate_app.command("access")
def rotate_access(
    key: Annotated[str, typer.Argument(help="The access key (ak_...) that is to be replaced; no secret needed.")],
    overlap: Annotated[str, typer.Option(help="How long it stays in force beside the new one: 90m, 12h, 7d.")] = "24h",
) -> None:
    """Make an access key in the place of another and print it, this once. Acts as the operator, not as the ledger."""
    from services.cli import admin, registry

    async def run() -> str:
        async with admin.connect() as connection:
            return await registry.replace_access_key(connection, key, duration(overlap))

    print(asyncio.run(run()))


@rotate_app.command("signing")
def rotate_signing(
    log: Annotated[str, typer.Argument(help="The log that gets a new signing key.")],
    overlap: Annotated[str, typer.Option(help="How long the key before signs beside it: 90m, 12h, 7d.")] = "7d",
) -> None:
    """Give a log a new signing key. Verifiers that know any key of the log follow to it by a statement of both."""
    from services.cli.integrity import ledger_settings
    from services.keys import SigningKeys, open_provider
    from services.ledger.acting import acting
    from services.ledger.log_keys import rotate_log_key

    async def run() -> str:
        settings = ledger_settings()
        signing = SigningKeys(open_provider(settings, settings.ledger_key_dir), settings.ledger_key_dir)
        async with acting(settings) as ledger, ledger.pool.acquire() as connection:
            return str(await rotate_log_key(connection, signing, log, duration(overlap)))

    print(f"The log {log} signs with a new key from its next checkpoint on. Note it outside:\n{_run(run())}")
    print(f"When the overlap of {overlap} is over: sayso key retire signing {log}")


@retire_app.command("signing")
def retire_signing(
    log: Annotated[str, typer.Argument(help="The log whose ended keys are destroyed.")],
) -> None:
    """Destroy the private halves of a log's keys whose overlap is over. What they signed stays as good as it was."""
    from services.cli.integrity import ledger_settings
    from services.keys import SigningKeys, open_provider
    from services.ledger.acting import acting
    from services.ledger.log_keys import retire_log_keys

    async def run() -> str:
        settings = ledger_settings()
        signing = SigningKeys(open_provider(settings, settings.ledger_key_dir), settings.ledger_key_dir)
        async with acting(settings) as ledger, ledger.pool.acquire() as connection:
            ended = await retire_log_keys(connection, signing, log)
        return ", ".join(f"key {row['number']}" for row in ended)

    print(f"Destroyed for the log {log}: {_run(run())}. Remove it from your key backups too.")


@rotate_app.command("sealing")
def rotate_sealing() -> None:
    """Replace the key that messages are sealed to. The ledger does so by itself every SAYSO_SEALING_KEY_DAYS."""
    from services.cli.integrity import ledger_settings
    from services.ledger.acting import acting
    from services.ledger.sealing_keys import SealingKeys, rotate_sealing_key

    async def run() -> str:
        settings = ledger_settings()
        keys = SealingKeys(settings.ledger_key_dir)
        async with acting(settings, appends=False) as ledger, ledger.pool.acquire() as connection:
            name = await rotate_sealing_key(connection, keys, datetime.now(UTC))
        assert name is not None
        return name.hex()

    print(f"Messages are sealed to the key {_run(run())} within a minute; the one before still opens those under way.")


@rotate_app.command("root")
def rotate_root_key(
    to: Annotated[
        str | None, typer.Option(help="Another key provider, as SAYSO_KEY_PROVIDER is written; stop the ledger first.")
    ] = None,
) -> None:
    """Wrap every controller key anew and destroy the old root key. After a crash the same command goes on."""
    from services.cli.integrity import ledger_settings, show
    from services.keys import check_provider, open_provider
    from services.keys.root_rotation import rewrap_all, rotate_root

    settings = ledger_settings()
    provider = open_provider(settings)
    check_provider(provider)
    total = len(list(settings.controller_key_dir.glob("*/*.key")))
    try:
        if to is None:
            print(rotate_root(settings.controller_key_dir, provider, lambda done: show("keys", done, total)))
            return
        new = open_provider(settings.model_copy(update={"key_provider": to}))
        check_provider(new)
        rewrap_all(settings.controller_key_dir, provider, new, lambda done: show("keys", done, total))
    except KeyProviderAway as error:
        raise ConfigurationError(f"{error}; give the same command again") from None
    print(
        f"All {total} keys are wrapped by {to}. Set SAYSO_KEY_PROVIDER to it for ledger and query and start them anew;"
    )
    print("then destroy the old root key and its backups.")


def _run(work: Coroutine[Any, Any, str]) -> str:
    try:
        return asyncio.run(work)
    except KeyProviderAway as error:
        raise ConfigurationError(f"{error}; give the same command again") from None
