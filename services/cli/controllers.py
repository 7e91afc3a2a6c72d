"""`sayso controller`: the organisations that decide why data is processed; the wall nothing crosses."""

import asyncio
from pathlib import Path
from typing import Annotated, Any

import typer

from schemas.errors import ConfigurationError, InvalidValue, Problem

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


def read_details(path: Path) -> bytes:
    """The canonical bytes of a description (YAML or JSON). Raises ConfigurationError that names the member at fault."""
    import yaml

    from schemas.parties import details_bytes

    try:
        value: Any = yaml.safe_load(path.read_text(encoding="utf-8"))
        return details_bytes(value)
    except InvalidValue as error:
        raise ConfigurationError(f"{path} does not describe a controller: see its member {error.pointer}") from None
    except Problem as error:
        raise ConfigurationError(f"{path} does not describe a controller: {error.title}. {error.advice}") from None
    except (OSError, UnicodeDecodeError, yaml.YAMLError, TypeError) as error:
        raise ConfigurationError(f"{path} cannot be read as YAML or JSON ({type(error).__name__})") from None


@app.command()
def describe(
    name: Annotated[str, typer.Argument(help="The controller's short name.")],
    file: Annotated[Path, typer.Argument(help="The description, YAML or JSON (schemas/json/controller.v1.json).")],
) -> None:
    """State what receipts say of a controller: who it is, where data lies, how long it is kept."""
    from services.cli import admin, registry

    details = read_details(file)

    async def run() -> None:
        async with admin.connect() as connection:
            await registry.describe_controller(connection, name, details)

    asyncio.run(run())
    print(f"Controller {name} is described: receipts made from now on say so.")


@app.command()
def show(name: Annotated[str, typer.Argument(help="The controller's short name.")]) -> None:
    """Print what is stated of a controller, as `describe` reads it."""
    import yaml

    from services.cli import admin

    async def run() -> Any:
        async with admin.connect() as connection:
            return await connection.fetchrow(admin.QUERIES["show_controller"], name)

    row = asyncio.run(run())
    if row is None:
        raise ConfigurationError(f"there is no controller {name}: see `sayso controller list`")
    print(f"# {row['name']}: {row['legal_name']}, {row['contact']}")
    if row["details"] is None:
        print(f"# Not described, so it has no receipts yet: sayso controller describe {name} FILE.yaml")
        return
    # JSON is YAML: read back as it was stored.
    print(yaml.safe_dump(yaml.safe_load(row["details"]), allow_unicode=True, sort_keys=False), end="")


@app.command()
def erase(
    name: Annotated[str, typer.Argument(help="The controller.")],
    confirm: Annotated[str, typer.Option(help="The name again: everybody in it is erased, for good.")],
) -> None:
    """Erase everything personal of a controller and destroy its keys; its logs stay and still verify."""
    from services.cli.erasing import erase_controller

    if confirm != name:
        raise ConfigurationError("the two names differ: nothing was erased")
    number = erase_controller(name)
    print(f"Controller {name} was erased (number {number}). Its keys are destroyed; its logs say how much was deleted.")


@app.command()
def open_access_log(
    name: Annotated[str, typer.Argument(help="The controller.")],
    log_host: Annotated[str, typer.Option(help="Host that the log's checkpoints are published under.")],
    log: Annotated[str | None, typer.Option(help="Name of the log; NAME-access if left out.")] = None,
) -> None:
    """Make the log that says who looked at personal data; controllers made since have it from their first site on."""
    from services.cli import admin, registry

    async def run() -> str:
        async with admin.connect() as connection:
            return await registry.open_access_log(connection, name, log_host, log)

    print(f"Log {asyncio.run(run())} takes the access records of {name}. The ledger opens it within a minute.")


@app.command("list")
def list_controllers() -> None:
    """List the controllers."""
    from services.cli import admin, output

    async def run() -> str:
        async with admin.connect() as connection:
            rows = await connection.fetch(admin.QUERIES["list_controllers"])
        return output.table(("name", "legal name", "contact", "sites", "logs"), [tuple(row.values()) for row in rows])

    print(asyncio.run(run()))
