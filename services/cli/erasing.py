"""`sayso erasure`, `sayso restore-check` and `sayso controller erase`: what an operator does about erasure.

They act as the ledger: they read its settings (services.cli.integrity.ledger_settings).
"""

import asyncio
from datetime import timedelta
from typing import Annotated

import typer

app = typer.Typer(no_args_is_help=True, help="Erasure: written rules about what may outlive it.")


@app.command()
def rule(
    controller: Annotated[str, typer.Argument(help="Whose rule it is.")],
    purpose: Annotated[str, typer.Argument(help="The purpose whose consents leave a minimal proof.")],
    ground: Annotated[str, typer.Option(help="17(3)(b), a legal obligation, or 17(3)(e), legal claims.")],
    keep_days: Annotated[int, typer.Option(min=1, max=36500, help="For how many days after an erasure.")],
) -> None:
    """Write down that consents to a purpose leave a minimal proof behind; counts for erasures from now on."""
    from services.cli import admin, registry

    async def run() -> None:
        async with admin.connect() as connection:
            await registry.set_minimal_proof_rule(connection, controller, purpose, ground, keep_days)

    asyncio.run(run())
    print(f"Consents of {controller} to {purpose} leave a minimal proof for {keep_days} days ({ground}).")


@app.command("rules")
def list_rules() -> None:
    """List the written rules."""
    from services.cli import admin, output

    async def run() -> str:
        async with admin.connect() as connection:
            rows = await connection.fetch(admin.QUERIES["list_minimal_proof_rules"])
        return output.table(("controller", "purpose", "ground", "days", "since"), [tuple(row.values()) for row in rows])

    print(asyncio.run(run()))


def restore_check() -> list[tuple[int, bool]]:
    """Apply the erasures that the database lacks; (number, whether there was something to delete) of each."""
    from services.cli.integrity import ledger_settings
    from services.ledger.acting import acting
    from services.ledger.erasure.replaying import replay

    async def run() -> list[tuple[int, bool]]:
        async with acting(ledger_settings(), appends=False) as ledger, ledger.pool.acquire() as connection:
            return await replay(connection, ledger.suppression, ledger.eraser, in_flight=timedelta(0))

    return asyncio.run(run())


def erase_controller(name: str) -> int:
    """Erase a whole controller; the number of the erasure."""
    from services.cli.integrity import ledger_settings
    from services.ledger.acting import acting
    from services.ledger.erasure import controller as controller_erasure

    async def run() -> int:
        async with acting(ledger_settings()) as ledger:
            return await controller_erasure.erase_controller(
                ledger.pool, ledger.keys, ledger.high_water, ledger.suppression, ledger.eraser, name
            )

    return asyncio.run(run())
