"""GPP strings: the header, and the sections it names (IAB Tech Lab, Global Privacy Platform).

Sections that this code does not know are named by their id and left alone.
"""

from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any, Final, NamedTuple

import yaml

from services.ingest.signals.bits import Bits, Unreadable
from services.ingest.signals.tcf import decode_tcf

_HEADER_TYPE: Final = 3
_HEADER_VERSION: Final = 1
_TCF_EU: Final = 2
_USP: Final = 6
_USP_MEMBERS: Final = ("version", "notice", "opt_out_sale", "lspa")
_GPC_SEGMENT: Final = 1
_VERSION_BITS: Final = 6
_FIELD_BITS: Final = 2
# Many times what is registered. A header can name thousands of sections in a few characters, each longer than itself.
_SECTIONS_MAX: Final = 64


class _Layout(NamedTuple):
    """Names of two-bit fields in their order, each with how many there are of it (0: one, and no list)."""

    name: str
    fields: Sequence[tuple[str, int]]
    second: Sequence[tuple[str, int]]


def decode_gpp(text: str) -> dict[str, Any]:
    """The header and the sections of a GPP string. Raises Unreadable."""
    header, *sections = text.split("~")
    bits = Bits(header)
    if bits.number(6) != _HEADER_TYPE:
        raise Unreadable
    version = bits.number(6)
    if version != _HEADER_VERSION:
        return {"version": version}
    if len(sections) > _SECTIONS_MAX:
        raise Unreadable
    ids = [number for number, _ in zip(bits.fibonacci_range(), [*sections, ""], strict=False)]
    if len(ids) != len(sections):
        raise Unreadable
    return {"version": version, "sections": [_section(*each) for each in zip(ids, sections, strict=True)]}


def _section(number: int, text: str) -> dict[str, Any]:
    if number == _TCF_EU:
        return {"id": number, "name": "tcfeuv2", **decode_tcf(text)}
    if number == _USP:
        if len(text) != len(_USP_MEMBERS):
            raise Unreadable
        return {"id": number, "name": "uspv1", **dict(zip(_USP_MEMBERS, text, strict=True))}
    core, *others = text.split(".")
    layouts = {version: layout for (section, version), layout in _layouts().items() if section == number}
    if not layouts:
        return {"id": number}
    bits = Bits(core)
    version = bits.number(_VERSION_BITS)
    if version not in layouts:
        return {"id": number, "version": version}
    layout = layouts[version]
    decoded = {"id": number, "name": layout.name, "version": version, **_fields(bits, layout.fields)}
    for other in others:
        segment = Bits(other)
        if layout.second:
            decoded |= _fields(segment, layout.second)
        elif segment.number(_FIELD_BITS) == _GPC_SEGMENT:
            decoded["gpc"] = segment.flag()
    return decoded


def _fields(bits: Bits, fields: Sequence[tuple[str, int]]) -> dict[str, Any]:
    return {
        name: [bits.number(_FIELD_BITS) for _ in range(count)] if count else bits.number(_FIELD_BITS)
        for name, count in fields
    }


@cache
def _layouts() -> dict[tuple[int, int], _Layout]:
    """Layouts by section id and version."""
    rows = yaml.safe_load((Path(__file__).parent / "sections.yaml").read_text(encoding="utf-8"))
    return {
        (row["id"], row["version"]): _Layout(row["name"], _named(row["fields"]), _named(row.get("second", [])))
        for row in rows
    }


def _named(fields: Sequence[str]) -> list[tuple[str, int]]:
    split = [field.partition(" x") for field in fields]
    return [(name, int(count) if count else 0) for name, _, count in split]
