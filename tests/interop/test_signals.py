"""TC and GPP strings written by the IAB's own libraries, read by ours: every purpose, every US section, every field."""

import json
import random
import subprocess
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from services.ingest.signals.bits import Unreadable
from services.ingest.signals.gpp import _layouts, decode_gpp
from services.ingest.signals.tcf import decode_tcf

pytestmark = pytest.mark.interop

HERE = Path(__file__).parent
SNIPPET = HERE.parent.parent / "snippet"
SEED = 20261122
# Members that stand in the string as they were asked for.
SAME = (
    "created",
    "cmp_id",
    "cmp_version",
    "consent_screen",
    "consent_language",
    "policy_version",
    "is_service_specific",
    "special_features",
    "purposes",
    "purposes_li",
    "purpose_one_treatment",
    "publisher_country",
)


def write(cases: list[Any]) -> list[dict[str, Any]]:
    """What the IAB's libraries make of the cases, in one process."""
    command = ["node", str(HERE / "signals" / "write.mjs"), str(SNIPPET)]
    answer = subprocess.run(command, input=json.dumps(cases), capture_output=True, text=True, check=True, timeout=60)
    written: list[dict[str, Any]] = json.loads(answer.stdout)
    return written


def some(chance: random.Random, most: int) -> list[int]:
    return sorted(chance.sample(range(1, most + 1), chance.randint(0, most)))


def tcf_case(chance: random.Random, *, disclosed: bool) -> dict[str, Any]:
    known = chance.choice([3, 40, 700])
    return {
        "kind": "tcf",
        "vendors_known": known,
        "policy_version": chance.choice([4, 5]),
        "cmp_id": chance.randint(2, 4095),
        "cmp_version": chance.randint(2, 4095),
        "consent_screen": chance.randint(0, 63),
        "consent_language": chance.choice(["FR", "DE", "ES", "EN"]),
        "publisher_country": chance.choice(["FR", "AA", "ZZ"]),
        "is_service_specific": True,
        "purpose_one_treatment": chance.random() < 0.5,
        "purposes": some(chance, 11),
        "purposes_li": [p for p in some(chance, 11) if p not in {1, 3, 4, 5, 6}],
        "special_features": some(chance, 2),
        "vendors": some(chance, known),
        "vendors_li": some(chance, known),
        "vendors_disclosed": some(chance, known),
        "publisher_purposes": some(chance, 11),
        "created": f"2026-0{chance.randint(1, 9)}-1{chance.randint(0, 9)}T00:00:00Z",
        "disclosed": disclosed,
    }


@cache
def tcf_cases() -> list[tuple[dict[str, Any], str]]:
    chance = random.Random(SEED)
    cases = [tcf_case(chance, disclosed=number % 2 == 1) for number in range(60)]
    return [(case, answer["text"]) for case, answer in zip(cases, write(cases), strict=True)]


def test_every_member_of_a_tc_string() -> None:
    for case, text in tcf_cases():
        decoded = decode_tcf(text)
        assert {name: decoded[name] for name in SAME} == {name: case[name] for name in SAME}
        assert decoded["vendor_list_version"] == 99
        assert decoded["vendors_consented"] == len(case["vendors"])
        assert ("vendors_disclosed" in decoded) == case["disclosed"]
        if case["disclosed"]:
            assert decoded["segments"] == [1, 3]
            assert decoded["publisher_purposes"] == case["publisher_purposes"]


def test_unknown_segments_and_versions_are_named_and_left_alone() -> None:
    _, text = tcf_cases()[1]
    assert decode_tcf(f"{text}.oAAA")["segments"] == [1, 3, 5]
    assert decode_tcf("D" + text[1:]) == {"version": 3}
    assert decode_gpp("DCAA") == {"version": 2}


def gpp_fields(chance: random.Random, version: int, layout: Any) -> list[dict[str, Any]]:
    """A value for every field; the libraries only take what the specification allows."""
    fields = []
    for name, count in (*layout.fields, *layout.second):
        pascal = "".join(part.capitalize() for part in name.split("_"))
        lowest = 1 if name == "mspa_covered_transaction" else 0
        value = [chance.randint(0, 2) for _ in range(count)] if count else chance.randint(lowest, 2)
        fields.append({"section": layout.name, "field": pascal, "value": value})
    return fields


def test_every_field_of_every_us_section() -> None:
    chance = random.Random(SEED)
    latest = {number: (version, layout) for (number, version), layout in sorted(_layouts().items())}
    gpc = {7, 8, 10, 12, *range(14, 25)}
    cases: list[dict[str, Any]] = []
    for number, (version, layout) in latest.items():
        fields = gpp_fields(chance, version, layout)
        if number in gpc:
            fields.append({"section": layout.name, "field": "Gpc", "value": True})
        cases.append({"kind": "gpp", "fields": fields})
    cases.append({"kind": "gpp", "fields": [field for case in cases[::3] for field in case["fields"]]})
    for case, answer in zip(cases, write(cases), strict=True):
        decoded = decode_gpp(answer["text"])
        assert [section["id"] for section in decoded["sections"]] == answer["ids"]
        by_name = {section["name"]: section for section in decoded["sections"]}
        for field in case["fields"]:
            snake = "".join(f"_{c.lower()}" if c.isupper() else c for c in field["field"]).removeprefix("_")
            assert by_name[field["section"]][snake] == field["value"], (field["section"], snake)
    assert len(latest) == 21


def test_a_tc_string_inside_a_gpp_string() -> None:
    _, text = tcf_cases()[1]
    (usp,) = write([{"kind": "gpp", "fields": [{"section": "uspv1", "field": "OptOutSale", "value": "Y"}]}])
    header, section = usp["text"].split("~")
    members: dict[str, Any] = dict(zip(("version", "notice", "opt_out_sale", "lspa"), section, strict=True))
    assert decode_gpp(usp["text"])["sections"] == [{"id": 6, "name": "uspv1", **members}]
    assert header != "DBABMA"
    both = decode_gpp(f"DBABMA~{text}")
    assert both["sections"][0] == {"id": 2, "name": "tcfeuv2", **decode_tcf(text)}


def test_nothing_but_unreadable_comes_of_damage() -> None:
    chance = random.Random(SEED)
    (every,) = write([{"kind": "gpp", "fields": gpp_fields(chance, 1, _layouts()[8, 1])}])
    for decode, text in ((decode_tcf, tcf_cases()[1][1]), (decode_gpp, every["text"])):
        for _ in range(2000):
            at = chance.randrange(len(text))
            damaged = chance.choice([text[:at], text[:at] + chance.choice("A_-~.é%9") + text[at + 1 :], text[at:]])
            try:
                decode(damaged)
            except Unreadable:
                continue
    for odd in ("", ".", "~", "~~~", "....", "D", "é" * 40, "_" * 16_000, "DB" + "_" * 9000):
        for decode in (decode_tcf, decode_gpp):
            try:
                decode(odd)
            except Unreadable:
                continue
