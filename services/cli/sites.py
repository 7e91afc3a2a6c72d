"""`sayso site`: websites and apps of a controller; each owns its keys and origins, and its records go to one log."""

import asyncio
from typing import Annotated

import typer

app = typer.Typer(no_args_is_help=True, help="Sites: websites and apps of a controller.")


@app.command()
def create(
    name: Annotated[str, typer.Argument(help="Name of the site, as it stands in the source of its events.")],
    controller: Annotated[str, typer.Option(help="Whose site it is.")],
    log: Annotated[str, typer.Option(help="The log that its records go to, for good; made if it is not there.")],
    log_host: Annotated[
        str | None,
        typer.Option(help="Host that the log's checkpoints are published under; signed into every one of them."),
    ] = None,
    origin: Annotated[list[str] | None, typer.Option(help="Origin that pages may post from; can be repeated.")] = None,
) -> None:
    """Create a site, and its log if the controller does not have it yet."""
    from services.cli import admin, registry

    async def run() -> None:
        async with admin.connect() as connection:
            await registry.create_site(
                connection, name, controller, log=log, log_host=log_host, origins=origin if origin is not None else []
            )

    asyncio.run(run())
    print(f"Site {name} is there. Next: sayso key create --site {name} --kind pk")


@app.command("list")
def list_sites(
    controller: Annotated[str | None, typer.Option(help="Only this controller's sites.")] = None,
) -> None:
    """List sites with their log, its size and its verifier key."""
    from services.cli import admin, output

    async def run() -> str:
        async with admin.connect() as connection:
            rows = await connection.fetch(admin.QUERIES["list_sites"], controller)
        headings = ("site", "controller", "log", "records", "page origins", "verifier key of the log")
        return output.table(headings, [tuple(row.values()) for row in rows])

    print(asyncio.run(run()))


@app.command()
def allow_origin(
    name: Annotated[str, typer.Argument(help="The site.")],
    origin: Annotated[str, typer.Argument(help="As browsers send it: https://shop.example")],
) -> None:
    """Let pages of an origin post with the site's publishable keys."""
    from services.cli import admin, registry

    async def run() -> list[str]:
        async with admin.connect() as connection:
            return await registry.allow_origin(connection, name, origin)

    print(f"Pages of these origins may post for {name}: {' '.join(asyncio.run(run()))}")
