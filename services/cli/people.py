"""`sayso person`: who may sign in with the OpenID provider; the first of a controller's people is invited here."""

import asyncio
from enum import StrEnum
from pathlib import Path
from typing import Annotated
from uuid import UUID

import typer
from pydantic import ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from schemas.errors import ConfigurationError

app = typer.Typer(no_args_is_help=True, help="People: who may sign in, in which role.")


class PersonRole(StrEnum):
    """What somebody may do (docs/access.md); regulators come with the key of a grant."""

    PRIVACY = "privacy"
    DPO = "dpo"
    ADMIN = "admin"


class InvitingSettings(BaseSettings):
    """What an invitation is made with; both mean what query's settings say."""

    model_config = SettingsConfigDict(env_prefix="SAYSO_", extra="ignore", frozen=True)

    link_key_file: Path
    query_public_url: str


@app.command()
def invite(
    controller: Annotated[str, typer.Argument(help="The controller's short name.")],
    name: Annotated[str, typer.Option(help="As colleagues call them.")],
    role: Annotated[PersonRole, typer.Option(help="What they may do (docs/access.md).")],
) -> None:
    """Invite somebody and print their link, which works for seven days and for whoever opens it first."""
    from services.capabilities import Capabilities
    from services.cli import admin, registry
    from services.keys import read_secret
    from services.query.sign_in.people import invitation

    try:
        settings = InvitingSettings()
    except ValidationError:
        raise ConfigurationError("set SAYSO_LINK_KEY_FILE and SAYSO_QUERY_PUBLIC_URL, as query has them") from None
    sealing = Capabilities(read_secret(settings.link_key_file))

    async def run() -> UUID:
        async with admin.connect() as connection:
            return await registry.invite_person(connection, controller, name, role.value)

    invited = invitation(sealing, settings.query_public_url, controller, asyncio.run(run()))
    print(f"Send this link to {name} alone; it works until {invited.expires_at:%Y-%m-%d %H:%M} UTC:\n{invited.url}")


@app.command("list")
def list_people() -> None:
    """List the people of all controllers."""
    from services.cli import admin, output

    async def run() -> str:
        async with admin.connect() as connection:
            rows = await connection.fetch(admin.QUERIES["list_people"])
        return output.table(
            ("person", "controller", "name", "role", "added", "has signed in"),
            [
                (
                    str(row["person"]),
                    row["controller"],
                    row["name"],
                    row["role"],
                    f"{row['added_at']:%Y-%m-%d %H:%M}",
                    "yes" if row["has_signed_in"] else "no",
                )
                for row in rows
            ],
        )

    print(asyncio.run(run()))


@app.command()
def remove(person: Annotated[UUID, typer.Argument(help="Their number, as `sayso person list` shows it.")]) -> None:
    """Remove somebody: their sessions end at once, and an invitation that is open does too."""
    from services.cli import admin, registry

    async def run() -> None:
        async with admin.connect() as connection:
            await registry.remove_person(connection, person)

    asyncio.run(run())
    print("They may not sign in any more.")
