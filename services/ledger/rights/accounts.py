"""Accounts that were deleted at the site, and restored: what a retention rule counts from (docs/retention.md).

Invariant: the row has the latest of each kind by when it was done, whatever order the events arrive in.
"""

from pathlib import Path
from typing import Final

from schemas.ranking import made_at
from services.ledger.rights.act import Act
from services.postgres import Connection, PooledConnection, named_queries

_SQL: Final = named_queries(Path(__file__).parents[1] / "sql" / "retention.sql")


async def delete_account(connection: Connection | PooledConnection, act: Act) -> None:
    """account.deleted. Of somebody who is gone there is nothing to remember."""
    if act.subject is not None:
        deleted_at = made_at(act.what, act.received_at)
        await connection.execute(_SQL["project_deletion"], act.controller, act.subject, act.event, deleted_at)


async def restore_account(connection: Connection | PooledConnection, act: Act) -> None:
    """account.restored: a deletion before it does not count."""
    if act.subject is not None:
        restored_at = made_at(act.what, act.received_at)
        await connection.execute(_SQL["project_restoring"], act.controller, act.subject, restored_at)
