"""`sayso log`: a successor, for a log whose newest state is lost for good."""

import asyncio
from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(no_args_is_help=True, help="Logs: let a successor take over.")


@app.command()
def succeed(
    name: Annotated[str, typer.Argument(help="The log that cannot go on.")],
    successor: Annotated[str, typer.Argument(help="Name of the new log.")],
    log_host: Annotated[str, typer.Option(help="Host that the new log's checkpoints are published under.")],
    checkpoint: Annotated[
        Path | None, typer.Option(help="The newest checkpoint that anybody outside has kept, if newer than our mark.")
    ] = None,
) -> None:
    """Close a log for good and let a new one, with a new origin and key, take over its sites."""
    from services.cli import registry
    from services.cli.integrity import ledger_settings
    from services.ledger.acting import acting
    from services.ledger.successor import succeed as take_over

    registry.check_log(successor, log_host)
    note = None if checkpoint is None else checkpoint.read_text(encoding="utf-8")

    async def run() -> int:
        async with acting(ledger_settings(), appends=False) as ledger, ledger.pool.acquire() as connection:
            origin = f"{log_host}/logs/{successor}"
            last = await take_over(connection, ledger.high_water, name, successor, origin, note)
            return last.size

    size = asyncio.run(run())
    print(
        f"{successor} takes over from {name}, whose last known checkpoint has size {size}. Start the ledger: it makes "
        "the new key and the first entries. Publish both the old checkpoint and the new verifier key."
    )
