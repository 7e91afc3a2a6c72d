"""An erasure that a hold stopped: what the ledger records in its place (docs/holds.md).

Invariant: the record takes the ask's id, so that the ask is answered once and for all; it names nobody.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from schemas.record import format_time
from services.ledger.opening import HOLD_APPLIED, Opened, read_ask
from services.ledger.own_records import own_record
from services.ledger.rights.holds import Hold


@dataclass(frozen=True, slots=True)
class Held:
    """The hold, and the record that says so."""

    hold: Hold
    record: Opened


def held(ask: Opened, event_id_key: bytes, hold: Hold, now: datetime) -> Held:
    """What becomes of an ask that a hold stopped."""
    stated: Mapping[str, Any] = {
        "hold": str(hold.hold),
        "ground": hold.ground,
        "expires_at": format_time(hold.expires_at),
        "confidential": hold.is_confidential,
        "erasure_ground": read_ask(ask.what)[1],
    }
    return Held(hold, own_record(ask.log, event_id_key, HOLD_APPLIED, {"hold": stated}, now, asked=ask))
