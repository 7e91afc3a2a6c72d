"""`sayso key`: keys of callers (publishable, app, server, access), publishers, and key files of the services."""

import asyncio
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from schemas.errors import ConfigurationError

app = typer.Typer(no_args_is_help=True, help="Keys of callers, of publishing processes, and key files.")


class SiteKeyKind(StrEnum):
    """pk: no secret, for pages, bound to origins. app: no secret, for native apps. sk: secret, for servers."""

    PK = "pk"
    APP = "app"
    SK = "sk"


class AccessKeyRole(StrEnum):
    """What an access key opens (docs/access.md); a regulator gets the key of a grant, over the API."""

    SITE = "site"
    PRIVACY = "privacy"
    DPO = "dpo"
    ADMIN = "admin"


class Publishing(StrEnum):
    """The services whose processes publish events."""

    INGEST = "ingest"
    QUERY = "query"


@app.command()
def create(
    site: Annotated[str | None, typer.Option(help="Site that the key posts events for; with --kind.")] = None,
    kind: Annotated[SiteKeyKind | None, typer.Option(help="pk for pages, app for native apps, sk for servers.")] = None,
    controller: Annotated[str | None, typer.Option(help="Controller whose answers the key reads; with --role.")] = None,
    role: Annotated[AccessKeyRole | None, typer.Option(help="What the key opens (docs/access.md).")] = None,
    label: Annotated[str | None, typer.Option(help="With --role: what the key is for.")] = None,
    days: Annotated[int, typer.Option(min=1, max=730, help="With --role: how many days it is in force.")] = 365,
    limit_to: Annotated[
        list[str] | None, typer.Option(help="With --role site: a site whose records alone it reads; several are given.")
    ] = None,
) -> None:
    """Create a key and print it. A secret is shown this once and cannot be shown again."""
    from services.cli import admin, registry

    async def run() -> str:
        async with admin.connect() as connection:
            if site is not None and kind is not None and controller is None and role is None:
                return await registry.create_site_key(connection, site, kind.value)
            if controller is not None and role is not None and site is None and kind is None:
                end = datetime.now(UTC) + timedelta(days=days)
                return await registry.create_access_key(
                    connection, controller, role.value, label=label, expires_at=end, sites=limit_to or ()
                )
        raise ConfigurationError("give either --site and --kind, or --controller and --role")

    print(asyncio.run(run()))


@app.command()
def revoke(
    key: Annotated[
        str, typer.Argument(help="The key's name (pk_..., app_..., sk_..., ak_... or a publisher); no secret needed.")
    ],
) -> None:
    """End a key. Services notice within a minute."""
    from services.cli import admin, registry

    async def run() -> None:
        async with admin.connect() as connection:
            await registry.revoke_key(connection, key)

    asyncio.run(run())
    print("The key is revoked. Services that hold it in memory forget it within a minute.")


@app.command("list")
def list_keys() -> None:
    """List keys by name, never their secrets."""
    from services.cli import admin, output

    async def run() -> str:
        async with admin.connect() as connection:
            rows = await connection.fetch(admin.QUERIES["list_keys"])
        return output.table(
            ("key", "kind", "opens", "created", "ends", "revoked"),
            [
                (
                    row["key"],
                    row["kind"],
                    row["opens"],
                    *(_minute(row[n]) for n in ("created_at", "expires_at", "revoked_at")),
                )
                for row in rows
            ],
        )

    print(asyncio.run(run()))


def _minute(moment: object) -> str:
    return "-" if moment is None else f"{moment:%Y-%m-%d %H:%M}"


@app.command()
def register_publisher(
    key_file: Annotated[Path, typer.Argument(help="File of the Ed25519 key that a process signs its epochs with.")],
    service: Annotated[
        Publishing, typer.Option(help="Which service's process it is: it may publish that service's event types.")
    ] = Publishing.INGEST,
) -> None:
    """Let an ingest or query process publish: the ledger sets aside what an unregistered key signed."""
    from services.cli import admin, registry
    from services.keys import signing_key

    async def run() -> str:
        async with admin.connect() as connection:
            return await registry.register_publisher(connection, signing_key(key_file).public_key(), service.value)

    print(f"Publisher {asyncio.run(run())} is registered.")


@app.command()
def make(
    directory: Annotated[Path, typer.Argument(help="Directory of all key files; made if it is not there.")],
) -> None:
    """Make the key files that the services do not make themselves; what is there stays as it is."""
    from services.cli.up.layout import make_keys

    for path, is_new in make_keys(directory):
        print(f"{'made ' if is_new else 'found'}  {path}")
