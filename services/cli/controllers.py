"""`sayso controller`: the organisations that decide why data is processed; the wall nothing crosses."""

import asyncio
from typing import Annotated

import typer

app = typer.Typer(no_args_is_help=True, help="Controllers: who decides why data is processed.")


@app.command()
def create(
    name: Annotated[str, typer.Argument(help="Short name, for commands and addresses; it cannot be changed.")],
    legal_name: Annotated[str, typer.Option(help="The name that people were told (GDPR Art. 13).")],
    contact: Annotated[str, typer.Option(help="Address of the data protection contact.")],
) -> None:
    """Create a controller."""
    from services.cli import admin, registry

    async def run() -> None:
        async with admin.connect() as connection:
            await registry.create_controller(connection, name, legal_name, contact)

    asyncio.run(run())
    print(f"Controller {name} is there. Next: sayso site create SITE --controller {name} --log {name} --log-host HOST")


@app.command("list")
def list_controllers() -> None:
    """List the controllers."""
    from services.cli import admin, output

    async def run() -> str:
        async with admin.connect() as connection:
            rows = await connection.fetch(admin.QUERIES["list_controllers"])
        return output.table(("name", "legal name", "contact", "sites", "logs"), [tuple(row.values()) for row in rows])

    print(asyncio.run(run()))
