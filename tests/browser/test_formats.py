"""Proofs, notes, tlog-proofs, inclusion paths, policies and JSON: every vector, judged by the page as by schemas."""

import base64
import contextlib
import json
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from playwright.sync_api import Page

from schemas.canonical import canonical_json
from schemas.errors import Problem, ProofError
from schemas.log_keys import KeyStatement, read_log_keys
from schemas.note import VerifierKey, log_key
from schemas.policy import parse_policy
from schemas.strict_json import read_json
from schemas.vectors import generate
from schemas.vectors.bundle.generate import VKEY
from schemas.vectors.texts import LOG
from tests.browser.both import compare
from tests.browser.chromium import Given
from tests.support import oracle
from tests.support.bundles import NEXT_KEY, keys_document
from tests.support.receipts import LOG_KEY
from tests.support.receipts import ORIGIN as ORIGIN_OF_KEYS
from tests.unit.schemas.test_policy import MISTAKES, TWO_OF_THREE, WITNESSES
from tests.vectors.test_log_formats import KEYS, ORIGIN

pytestmark = pytest.mark.browser

VECTORS = generate.HERE


def files(folder: str, *suffixes: str) -> list[Path]:
    found = sorted(path for path in (VECTORS / folder).iterdir() if path.suffix in suffixes and path.stem != "golden")
    assert len(found) > 50
    return found


def b64(raw: bytes) -> str:
    return base64.b64encode(raw).decode()


def holds(page: Page, script: str, argument: Any) -> list[bool]:
    """`script` is an async function of one case: it returns, or throws Refused. Any other error fails the test."""
    answers: list[str] = page.evaluate(
        f"""async (cases) => {{
          const one = {script};
          const answers = [];
          for (const item of cases) {{
            try {{ await one(item); answers.push("holds"); }}
            catch (error) {{ answers.push(error instanceof Refused ? "refused" : String(error)); }}
          }}
          return answers;
        }}""",
        argument,
    )
    assert set(answers) <= {"holds", "refused"}, answers
    return [answer == "holds" for answer in answers]


def test_every_proof_is_judged_alike(shared_page: Page) -> None:
    paths = files("bundle", ".json", ".tlog-proof")
    given = [Given(VKEY, origin=LOG), Given(VKEY), Given()]
    said = compare(
        shared_page, {f"{path.name} {n}": (path.read_bytes(), pins) for path in paths for n, pins in enumerate(given)}
    )
    for name, judged in said.items():
        if name.endswith(" 0"):
            number, _, outcome, _ = judged.steps[-1]
            happy = name.startswith("happy-path")
            assert (outcome != "failed") == happy, name
            assert happy or number == int(name[0])


def test_damaged_proofs_are_judged_alike(shared_page: Page) -> None:
    """Random damage of one byte or of a piece, in both spellings."""
    dice = random.Random(4)
    cases = {}
    for name in ("happy-path.json", "happy-path.tlog-proof", "happy-path-cosigned.json"):
        content = (VECTORS / "bundle" / name).read_bytes()
        for number in range(120):
            damaged = bytearray(content)
            at = dice.randrange(len(damaged))
            damaged[at : at + dice.choice((1, 1, 1, 0, 7))] = dice.choice(
                (b"", b"\0", b'"', b"1", b"-0", b"A", b"\xc3\xa9")
            )
            cases[f"{name} {number}"] = (bytes(damaged), Given(VKEY))
    compare(shared_page, cases)


def test_every_note_is_opened_or_refused(shared_page: Page) -> None:
    paths = files("checkpoints", ".txt")
    keys = [
        KEYS["log"]["vkey"],
        KEYS["witness"]["vkey"],
        (VECTORS / "checkpoints" / "ml-dsa-44.vkey").read_text().strip(),
    ]
    opened = holds(
        shared_page,
        """async ([note, origin, vkeys]) =>
            openCheckpoint(decodeText(decodeBase64(note)), origin, await Promise.all(vkeys.map(parseVerifierKey)))""",
        [[b64(path.read_bytes()), ORIGIN, keys] for path in paths],
    )
    assert {path.name for path, held in zip(paths, opened, strict=True) if held} == {
        path.name for path in paths if path.name.startswith("happy-path")
    }


def test_every_tlog_proof_of_another_maker_holds_or_is_refused(shared_page: Page) -> None:
    paths = files("tlog-proof", ".tlog-proof")
    held = holds(
        shared_page,
        """async ([raw, origin, vkey]) => {
            const proof = parseTlogProof(decodeBase64(raw));
            const { size, root } = await openCheckpoint(proof.checkpoint, origin, [await parseVerifierKey(vkey)]);
            await verifyInclusion(await leafHash(utf8("b")), proof.index, size, proof.path, root);
        }""",
        [[b64(path.read_bytes()), ORIGIN, KEYS["log"]["vkey"]] for path in paths],
    )
    assert {path.name for path, one in zip(paths, held, strict=True) if one} == {
        path.name for path in paths if path.name.startswith("happy-path")
    }


def test_every_inclusion_path_leads_or_is_refused(shared_page: Page) -> None:
    vectors = [json.loads(path.read_bytes()) for path in files("inclusion", ".json")]
    held = holds(
        shared_page,
        """async (v) => {
            const path = v.path.map(fromHex);
            if (path.some((hash) => hash.length !== 32)) refuse("no hash"); // the readers of proofs see to that
            await verifyInclusion(fromHex(v.leaf_hash), BigInt(v.index), BigInt(v.size), path, fromHex(v.root));
        }""",
        [{**vector, "index": str(vector["index"]), "size": str(vector["size"])} for vector in vectors],
    )
    assert held == [vector["valid"] for vector in vectors]


def python_parses(text: str) -> bool:
    try:
        parse_policy(text)
    except ProofError:
        return False
    return True


def test_every_mistake_in_a_policy_is_refused(shared_page: Page) -> None:
    texts = [text for text, _ in MISTAKES.values()]
    texts += [
        TWO_OF_THREE,
        f"{WITNESSES}\n# x\n \t quorum  none\t\n",
        "quorum none\n",
        "\ufeffquorum none\n",
        "#\u0085\nquorum none\n",
    ]
    held = holds(shared_page, "(raw) => parsePolicy(decodeBase64(raw))", [b64(text.encode()) for text in texts])
    assert held == [python_parses(text) for text in texts]
    assert held[: len(MISTAKES)] == [False] * len(MISTAKES)


def test_a_quorum_is_met_by_the_same_witnesses(shared_page: Page) -> None:
    policy = parse_policy(TWO_OF_THREE)
    names = ["w1", "w2", "w3", "pq", "ours", "both"]
    chosen = [[name for bit, name in enumerate(names) if subset >> bit & 1] for subset in range(16)]
    met = holds(
        shared_page,
        "async ([raw, names]) => isMet(await parsePolicy(decodeBase64(raw)), names) || refuse('not met')",
        [[b64(TWO_OF_THREE.encode()), some] for some in chosen],
    )
    assert met == [policy.is_met(some) for some in chosen]
    assert {True, False} == set(met)


def chains() -> dict[str, bytes]:
    """Documents of a log's keys: what a statement may be wrong in, each signed by both keys all the same."""
    third = Ed25519PrivateKey.from_private_bytes(bytes(range(0x40, 0x60)))
    first, second, last = (log_key(ORIGIN_OF_KEYS, key) for key in (LOG_KEY, NEXT_KEY, third))
    whole = read_json(keys_document(), controls=True)[0]
    entries: list[dict[str, Any]] = whole["keys"]

    def document(*statements: str, keys: Sequence[VerifierKey] = (second, last)) -> bytes:
        more = [
            {**entries[1], "number": n, "statement": text, "vkey": str(key)}
            for n, (text, key) in enumerate(zip(statements, keys, strict=False), start=2)
        ]
        return canonical_json({**whole, "keys": [entries[0], *more]})

    def said(number: int, before: VerifierKey, new: VerifierKey, size: int, *signers: Ed25519PrivateKey) -> str:
        return KeyStatement(number, before, new, size).sign(signers[0].sign, signers[1].sign)

    good = said(2, first, second, 3, LOG_KEY, NEXT_KEY)
    text, _, lines = good.partition("\n\n")
    swapped = "".join(f"{line}\n" for line in reversed(lines.splitlines()))
    stranger = oracle.signature_line("stranger", 1, bytes(32), bytes(64))
    return {
        "good": document(good),
        "good, three keys": document(good, said(3, second, last, 3, NEXT_KEY, third)),
        "begins before": document(good, said(3, second, last, 2, NEXT_KEY, third)),
        "about the first key again": document(good, said(3, first, last, 4, LOG_KEY, third)),
        "another number": document(said(3, first, second, 3, LOG_KEY, NEXT_KEY)),
        "another key": document(said(2, first, last, 3, LOG_KEY, third)),
        "the new key alone": document(said(2, first, second, 3, NEXT_KEY, NEXT_KEY)),
        "a line more": document(good + stranger),
        "a line less": document(f"{text}\n\n{lines.splitlines()[0]}\n"),
        "a line twice": document(good + lines.splitlines(keepends=True)[0]),
        "lines swapped": document(f"{text}\n\n{swapped}"),
        "a line of text more": document(good.replace("3\n\n", "3\nx\n\n")),
        "a key twice": document(good, said(3, second, first, 4, NEXT_KEY, LOG_KEY), keys=(second, first)),
    }


def test_every_chain_of_keys_is_followed_or_refused(shared_page: Page) -> None:
    documents = chains()
    followed = {}
    for name, raw in documents.items():
        with contextlib.suppress(ProofError):
            followed[name] = read_log_keys(raw)
    held = holds(shared_page, "(raw) => readLogKeys(decodeBase64(raw))", [b64(raw) for raw in documents.values()])
    assert {name for name, one in zip(documents, held, strict=True) if one} == set(followed)
    assert set(followed) == {"good", "good, three keys"}


PIECES = [
    "{",
    "}",
    "[",
    "]",
    ",",
    ":",
    '"a"',
    '"b"',
    '"\\u0061"',
    '"\\ud800"',
    '"\\ud83d\\ude00"',
    '"\u007f"',
    '"\\u0001"',
    '"\ue000"',
    "0",
]
PIECES += [
    "-0",
    "01",
    "1.0",
    "1e3",
    "-7",
    "9007199254740991",
    "9007199254740992",
    "true",
    "null",
    " ",
    "\n",
    "\ufeff",
    '"é',
    "'",
    "1_0",
    "+1",
    "NaN",
]
WHOLE = [
    '{"a":1,"a":2}',
    '{"a":[{}],"b":{"c":null}}',
    '{"\ue000":1}',
    '{"\U0001f600":1}',
    '{"__proto__":{"a":1}}',
    '{"constructor":1,"2":1,"10":1}',
]
WHOLE += [
    "[" * 16 + "1" + "]" * 16,
    "[" * 17 + "]" * 17,
    "{}",
    "[]",
    '"\\/"',
    '"\\x"',
    '"\t"',
    '{"a":1,}',
    "[1,]",
    "",
    "\u00a01",
    "1\u00a0",
]


def python_reads(text: bytes, *, controls: bool) -> str | None:
    try:
        return read_json(text, controls=controls)[1].decode()
    except Problem:
        return None


def test_json_is_read_alike(shared_page: Page) -> None:
    """Every text of a seeded heap: both read it to the same canonical bytes, or both refuse it."""
    dice = random.Random(8785)
    texts = [text.encode() for text in WHOLE]
    texts += ["".join(dice.choices(PIECES, k=dice.randint(1, 7))).encode() for _ in range(1500)]
    texts += [
        f"{{{','.join(f'{dice.choice(PIECES[6:14])}:{dice.choice(PIECES[6:23])}' for _ in range(2))}}}".encode()
        for _ in range(500)
    ]
    texts += [b'"' + b"a" * 2**20 + b'"', b'"\xff"', b'"\xed\xa0\x80"', b"\xef\xbb\xbf{}"]
    script = """(cases) => cases.map(([raw, controls]) => {
      try { return writeJson(readJson(decodeBase64(raw), "it", { controls })); }
      catch (error) { if (error instanceof Refused) return null; throw error; }
    })"""
    for controls in (False, True):
        said = shared_page.evaluate(script, [[b64(text), controls] for text in texts])
        expected = [python_reads(text, controls=controls) for text in texts]
        assert {text: one for text, one, other in zip(texts, said, expected, strict=True) if one != other} == {}
        assert sum(one is not None for one in expected) > 50
