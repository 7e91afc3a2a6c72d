"""TC strings: the core segment and what other segments are there (IAB TCF v2: Consent string and vendor list formats).

Versions and segments that this code does not know are named and left alone. Vendors are counted and not listed: the
string itself stays beside what is decoded of it.
"""

from datetime import UTC, datetime
from typing import Any, Final

from services.ingest.signals.bits import Bits, Unreadable

_CORE_VERSION: Final = 2
_PURPOSES: Final = 24
_SPECIAL_FEATURES: Final = 12
# Segment types, three bits each; 0 is the core.
_DISCLOSED_VENDORS: Final = 1
_PUBLISHER: Final = 3
_SEGMENTS_MAX: Final = 16


def decode_tcf(text: str) -> dict[str, Any]:
    """The decoded members of a TC string. Raises Unreadable."""
    core, *others = text.split(".")
    if len(others) > _SEGMENTS_MAX:
        raise Unreadable
    bits = Bits(core)
    version = bits.number(6)
    if version != _CORE_VERSION:
        return {"version": version}
    decoded: dict[str, Any] = {"version": version, **_core(bits)}
    segments = []
    for other in others:
        segment = Bits(other)
        kind = segment.number(3)
        segments.append(kind)
        if kind == _DISCLOSED_VENDORS:
            decoded["vendors_disclosed"] = _vendors(segment)
        elif kind == _PUBLISHER:
            decoded["publisher_purposes"] = segment.positions(_PURPOSES)
            decoded["publisher_purposes_li"] = segment.positions(_PURPOSES)
    if segments:
        decoded["segments"] = segments
    return decoded


def _core(bits: Bits) -> dict[str, Any]:
    """Members in the order of their bits."""
    return {
        "created": _time(bits),
        "last_updated": _time(bits),
        "cmp_id": bits.number(12),
        "cmp_version": bits.number(12),
        "consent_screen": bits.number(6),
        "consent_language": bits.letters(2),
        "vendor_list_version": bits.number(12),
        "policy_version": bits.number(6),
        "is_service_specific": bits.flag(),
        "uses_non_standard_texts": bits.flag(),
        "special_features": bits.positions(_SPECIAL_FEATURES),
        "purposes": bits.positions(_PURPOSES),
        "purposes_li": bits.positions(_PURPOSES),
        "purpose_one_treatment": bits.flag(),
        "publisher_country": bits.letters(2),
        "vendors_consented": _vendors(bits),
        "vendors_li": _vendors(bits),
    }


def _time(bits: Bits) -> str:
    """Tenths of a second since 1970, RFC 3339 to the second."""
    try:
        moment = datetime.fromtimestamp(bits.number(36) // 10, UTC)
    except (OverflowError, ValueError):
        raise Unreadable from None
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


def _vendors(bits: Bits) -> int:
    """How many vendors a bit field or a list of ranges names."""
    largest = bits.number(16)
    if not bits.flag():
        return bits.number(largest).bit_count()
    count = 0
    for _ in range(bits.number(12)):
        is_range = bits.flag()
        start = bits.number(16)
        end = bits.number(16) if is_range else start
        if not 0 < start <= end <= largest:
            raise Unreadable
        count += end - start + 1
    return count
