"""The signals of an event: decoded where they can be, compared with what the event says was decided, never refused."""

from collections.abc import Iterable, Mapping
from typing import Any, Final, NamedTuple

from schemas.events import PERMISSIVE
from schemas.record import Mark
from services.ingest.signals.bits import Unreadable
from services.ingest.signals.gpp import decode_gpp
from services.ingest.signals.tcf import decode_tcf

# The purpose that stands for a purpose or a special feature of the TCF: tcf-1, tcf-sf-1.
_PURPOSE: Final = "tcf-"
_FEATURE: Final = "tcf-sf-"


class Signals(NamedTuple):
    """What could be decoded, by the signal's name, and what was odd."""

    decoded: Mapping[str, Any]
    marks: list[Mark]


def read_signals(data: Mapping[str, Any]) -> Signals:
    """Decode the TC and GPP strings in the `data` of a valid event."""
    decoded: dict[str, Any] = {}
    marks: list[Mark] = []
    signals = data["signals"]
    for name, decode in (("tcf", decode_tcf), ("gpp", decode_gpp)):
        if name not in signals:
            continue
        try:
            decoded[name] = decode(signals[name])
        except Unreadable:
            marks = ["signal-unreadable"]
    if "tcf" in decoded and _differs(decoded["tcf"], data.get("decisions", ())):
        marks.append("signal-differs")
    return Signals(decoded, marks)


def _differs(tcf: Mapping[str, Any], decisions: Iterable[Mapping[str, Any]]) -> bool:
    """Whether a decision about a purpose of the TCF is not the one in the string."""
    if "purposes" not in tcf:
        return False
    for decision in decisions:
        purpose: str = decision["purpose"]
        prefix = _FEATURE if purpose.startswith(_FEATURE) else _PURPOSE
        number = purpose.removeprefix(prefix)
        if number == purpose or not number.isdecimal():
            continue
        member = "special_features" if prefix == _FEATURE else "purposes"
        if decision["legal_basis"] == "legitimate_interest":
            member = "purposes_li"
        if (int(number) in tcf[member]) != (decision["decision"] in PERMISSIVE):
            return True
    return False
