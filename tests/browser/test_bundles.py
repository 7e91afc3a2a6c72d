"""Whole bundles in the page and in Python: the golden one, every file of it changed, and zips of other tools."""

import base64
import random
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
from playwright.sync_api import Page

from schemas.archive import MANIFEST, read_archive, write_archive
from schemas.canonical import canonical_json
from schemas.errors import ProofError
from schemas.manifest import write_manifest
from schemas.strict_json import read_json
from tests.browser.both import compare
from tests.browser.chromium import Given, judge
from tests.support import oracle
from tests.support.bundles import golden, keys_document, listed
from tests.support.receipts import VKEY
from tests.support.witness import key_pair
from tests.unit.schemas.test_archive import EVENT, NOTICE, REFUSED_BY, REQUIRED, STEPS, TWO, zipped

pytestmark = pytest.mark.browser

ZIP, PINS = golden()
assert PINS.policy is not None
assert PINS.roots is not None
assert PINS.jwks is not None
ALL = Given(PINS.vkeys[0], PINS.policy.decode(), PINS.roots.decode(), PINS.jwks.decode())
KEY = Given(PINS.vkeys[0])
# Without its large files, which no step reads: hundreds of it go to the page.
LARGE = ("verify.html", "verify.py")
FILES = {name: content for name, content in read_archive(ZIP).items() if name not in LARGE} | {"report.pdf": b"%PDF"}
SMALL = write_archive(listed(FILES))
LOG = "logs/shop"
Case = tuple[bytes, Given]


def changed(changes: Mapping[str, bytes | None], given: Given = KEY) -> Case:
    """The bundle with some files other or gone, and a manifest that fits."""
    files = {name: content for name, content in {**FILES, **changes}.items() if content is not None}
    return write_archive(listed(files)), given


def test_the_golden_bundle_verifies_as_in_python(shared_page: Page) -> None:
    for number, (given, verdict) in enumerate([(ALL, "ok"), (Given(), "remark"), (KEY, "remark")]):
        (judged,) = compare(shared_page, {str(number): (ZIP, given)}).values()
        assert [(number, name) for number, name, *_ in judged.steps] == list(enumerate(STEPS, start=1))
        assert {outcome for _, _, outcome, _ in judged.steps} == {"ok", verdict}


def flipped() -> Iterator[tuple[str, Case]]:
    """Every file with some bit changed: in place, then under a manifest that fits, held to a key or to all anchors."""
    for name in sorted(set(FILES) - {MANIFEST}):
        dice = random.Random(name)
        for number in range(8):
            content = bytearray(FILES[name])
            content[dice.randrange(len(content))] ^= 1 << dice.randrange(8)
            yield f"{name} {number}", changed({name: bytes(content)}, ALL if number % 3 == 0 else KEY)
        yield f"{name} in place", (write_archive({**listed(FILES), name: bytes(content)}), KEY)


def test_changed_files_are_refused_alike(shared_page: Page) -> None:
    said = compare(shared_page, dict(flipped()))
    for case, judged in said.items():
        name, _, how = case.partition(" ")
        *_, (_, step, outcome, _) = judged.steps
        if how == "in place":
            assert (step, outcome) == ("manifest", "failed")
        elif outcome == "failed":
            assert step in (REFUSED_BY[name] or ())


def moved() -> Iterator[tuple[str, Case]]:
    """Files missing, too many, swapped, renamed."""
    for name in REQUIRED:
        yield f"without {name}", changed({name: None})
    many = ["extra.txt", f"{LOG}/extra.json", f"{LOG}/checkpoints/{2**63}.note", f"{LOG}/checkpoints/05.note"]
    many += [
        f"{LOG}/checkpoints/6.note",
        "logs/other/policy.txt",
        f"{LOG}/timestamps/5-other.tsr",
        f"{LOG}/timestamps/other.pem",
    ]
    many += [
        "events/01930f5e-7c1e-7b1a-9c55-0d7f1f0b9aff/proof.json",
        f"notices/{'ab' * 32}.json",
        f"notices/{NOTICE}.md",
    ]
    many += [
        "catalogue/purposes/shop.yaml",
        "certificate.jws",
        f"logs/{'a' * 64}/keys.json",
        "__proto__",
        "constructor",
    ]
    for name in many:
        if not name.startswith("_"):
            yield f"with {name}", changed({name: b"x"})
    swaps = [(f"events/{EVENT}/proof.json", f"events/{EVENT}/proof.tlog-proof"), ("report.json", f"{LOG}/keys.json")]
    swaps += [
        (f"{LOG}/checkpoints/5.note", f"{LOG}/checkpoints/5.signed"),
        (f"notices/{NOTICE}.json", f"notices/{NOTICE}.txt"),
    ]
    swaps += [
        (f"notices/{NOTICE}.html", f"notices/{NOTICE}.txt"),
        (f"{LOG}/timestamps/5-golden.tsr", f"{LOG}/timestamps/golden.pem"),
    ]
    for one, other in swaps:
        yield f"{one} swapped", changed({one: FILES[other], other: FILES[one]})
    for old, new in [
        (EVENT, EVENT[:-1] + "f"),
        (f"{LOG}/", "logs/shoq/"),
        ("checkpoints/5.", "checkpoints/6."),
        (NOTICE, "ab" * 32),
    ]:
        files = {name.replace(old, new): content for name, content in FILES.items()}
        yield f"{old} renamed", (write_archive(listed(files)), KEY)
    files = {name.replace("/5.", "/6.").replace("/5-", "/6-"): content for name, content in FILES.items()}
    yield "another size", (write_archive(listed(files)), KEY)


def test_moved_files_are_refused_alike(shared_page: Page) -> None:
    for name, judged in compare(shared_page, dict(moved())).items():
        assert judged.steps[-1][2] == "failed", name


def restated() -> Iterator[tuple[str, Case]]:
    """JSON files that say something else, in canonical spelling, and one in another spelling."""
    manifest, report = read_json(listed(FILES)[MANIFEST])[0], read_json(FILES["report.json"], levels=32)[0]
    changes: list[dict[str, Any]] = [
        {"format": "sayso-bundle/v2"},
        {"made_at": "2026-11-22T10:05:00Z"},
        {"files": {}},
        {"more": 1},
    ]
    changes += [
        {"about": {"kind": "event"}},
        {"about": {"kind": "person", "event": EVENT}},
        {"about": []},
        {"about": {"kind": "__proto__"}},
    ]
    changes += [
        {"about": {"kind": "subject", "subject": EVENT, "complete": 1}},
        {"about": {"kind": "event", "event": EVENT.upper()}},
    ]
    for number, change in enumerate(changes):
        yield f"manifest {number}", (write_archive({**FILES, MANIFEST: canonical_json(manifest | change)}), KEY)
    listed_too = {**manifest, "files": {**manifest["files"], "gone.txt": "00" * 32}}
    yield "manifest lists one more", (write_archive({**FILES, MANIFEST: canonical_json(listed_too)}), KEY)
    yield "manifest spelled", (write_archive({**FILES, MANIFEST: b" " + canonical_json(manifest)}), KEY)
    record = report["records"][0]
    lies: list[tuple[str, Any]] = [
        ("index", 3),
        ("index", True),
        ("size", 6),
        ("what", None),
        ("who", {}),
        ("notice", None),
        ("log", "shoq"),
    ]
    for member, value in lies:
        told = {**report, "records": [{**record, member: value}]}
        yield f"report {member} {value}", changed({"report.json": canonical_json(told)})
        del told["records"][0][member]
        yield f"report without {member} {value}", changed({"report.json": canonical_json(told)})
    for records in ([], [record, record], None, [1], [{**record, "event": None}]):
        yield f"report of {str(records)[:40]}", changed({"report.json": canonical_json({**report, "records": records})})
    yield "report says more", changed({"report.json": canonical_json({**report, "more": [1]})})


def rekeyed() -> Iterator[tuple[str, Case]]:
    """Other documents of keys, and other kinds of bundle."""
    manifest, report = read_json(listed(FILES)[MANIFEST])[0], read_json(FILES["report.json"], levels=32)[0]
    keys: dict[str, Any] = read_json(keys_document(), controls=True)[0]
    for member, value in [
        ("ends_at", "never"),
        ("made_at", None),
        ("number", 3),
        ("statement", None),
        ("vkey", VKEY),
        ("more", 1),
    ]:
        told = {**keys, "keys": [keys["keys"][0], {**keys["keys"][1], member: value}]}
        yield f"keys {member}", changed({f"{LOG}/keys.json": canonical_json(told)})
    yield "keys that begin later", changed({f"{LOG}/keys.json": keys_document(from_size=5)})
    for size in (4, 5):
        # Signed by the second key alone, which begins at `size`.
        signed = FILES[f"{LOG}/checkpoints/5.signed"].decode().splitlines(keepends=True)
        alone = "".join([*signed[:4], *signed[5:]]).encode()
        note = alone + FILES[f"{LOG}/checkpoints/5.note"].removeprefix(FILES[f"{LOG}/checkpoints/5.signed"])
        files = {f"{LOG}/checkpoints/5.signed": alone, f"{LOG}/checkpoints/5.note": note}
        yield f"signed by a key from {size} on", changed({**files, f"{LOG}/keys.json": keys_document(from_size=size)})
    whole = FILES[f"{LOG}/checkpoints/5.note"]
    untimed = {name: None for name in FILES if "/timestamps/" in name}
    yield "a witness among the log's own lines", changed({f"{LOG}/checkpoints/5.signed": whole, **untimed})
    yield "the first key alone", changed({f"{LOG}/keys.json": keys_document(rotated=False)}, Given(VKEY))
    yield (
        "keys the other way round",
        changed({f"{LOG}/keys.json": canonical_json({**keys, "keys": keys["keys"][::-1]})}),
    )
    for complete in (True, False):
        about = {"kind": "subject", "subject": EVENT, "complete": complete}
        files = {**FILES, "report.json": canonical_json({**report, "about": about})}
        others = {name: content for name, content in files.items() if name != MANIFEST}
        yield (
            f"a subject, complete: {complete}",
            (write_archive({MANIFEST: write_manifest(manifest["made_at"], about, others), **others}), ALL),
        )


def test_what_json_files_say_is_judged_alike(shared_page: Page) -> None:
    said = compare(shared_page, {**dict(restated()), **dict(rekeyed())})
    held = {name for name, judged in said.items() if judged.steps[-1][2] != "failed"}
    allowed = {"report says more", "a subject, complete: True", "a subject, complete: False"}
    # The first key has signed too: what the second one signs is then a line like a stranger's.
    assert held == allowed | {"keys that begin later", "the first key alone"}


def test_what_the_reader_gives_is_used_alike(shared_page: Page) -> None:
    pem, policy = FILES[f"{LOG}/timestamps/golden.pem"].decode(), ALL.policy
    strict = policy.replace("all w0 w1", "2 w0 w1 w9").replace("group", f"witness w9 {witness_key()}\ngroup")
    stranger, other = log_vkey("stranger"), log_vkey("other", "log.example/logs/other")
    given = {
        "the other key": Given(VKEY),
        "both keys": Given(f"{VKEY}\n{PINS.vkeys[0]}"),
        "a stranger's key": Given(stranger),
        "a stranger's key beside the log's": Given(f"{stranger}\n{VKEY}"),
        "a key of another log": Given(f"{other}\n{VKEY}"),
        "a policy of no policy": Given(policy=pem),
        "a policy that is met": Given(policy=strict),
        "a policy that is not met": Given(policy=strict.replace("2 w0", "all w0")),
        "a policy of another log": Given(policy=policy.replace(f"log {VKEY}", f"log {other}")),
        "a policy with a stranger's key": Given(policy=policy.replace(f"log {VKEY}", f"log {stranger}")),
        "broken roots": Given(roots=pem.replace("M", "N", 1)),
        "no roots": Given(roots="none"),
        "no receipt keys": Given(jwks='{"keys":[]}'),
        "no JWK set": Given(jwks="{}"),
    }
    said = compare(shared_page, {name: (SMALL, pins) for name, pins in given.items()})
    unusable = {name for name, judged in said.items() if judged.unusable is not None}
    assert unusable == {"a policy of no policy"}
    held = {name for name, judged in said.items() if judged.steps and judged.steps[-1][2] != "failed"}
    assert held == {"the other key", "both keys", "a stranger's key beside the log's", "a policy that is met"}


def test_a_key_that_is_none_gives_no_verdict_at_all(shared_page: Page) -> None:
    """Python fails the step that reads it; the page says so before any step."""
    (judged,) = judge(shared_page, [(SMALL, Given("log.example/logs/shop"))])
    assert "not a verifier key" in (judged.unusable or "")


def log_vkey(seed: str, name: str = "log.example/logs/shop") -> str:
    return oracle.vkey(name, 1, oracle.public_key(seed.ljust(32).encode()))


def witness_key() -> str:
    return key_pair("witness.example.com/w9", 4, bytes(31) + b"\1")[0]


def test_a_browser_without_ml_dsa_counts_no_such_witness(shared_page: Page) -> None:
    """It says so, and a pinned policy that needs that witness is not met: nothing is verified that was not checked."""
    shared_page.evaluate("() => { globalThis.realMlDsa44 = verifyMlDsa44; verifyMlDsa44 = async () => null; }")
    try:
        needless = Given(policy=ALL.policy.replace("all w0 w1", "any w0 w1"))
        bundled, pinned, without = judge(shared_page, [(SMALL, Given()), (SMALL, ALL), (SMALL, needless)])
    finally:
        shared_page.evaluate("() => { verifyMlDsa44 = realMlDsa44; }")
    assert (bundled.steps[5][2], len(bundled.steps)) == ("remark", 12)
    assert "w1 counts for nothing" in bundled.steps[5][3]
    assert "does NOT hold" in bundled.steps[5][3]
    assert pinned.steps[-1][1:3] == ("witnesses", "failed")
    assert (without.steps[5][2], len(without.steps)) == ("remark", 12)


# --- the zip ----------------------------------------------------------------------------------------------------------


def read_by_python(raw: bytes) -> bool:
    try:
        read_archive(raw)
    except ProofError:
        return False
    return True


def test_zips_are_read_one_way_or_not_at_all(shared_page: Page) -> None:
    """Every bit of a small zip, some of a whole one, what other tools and liars write: both read it, or both refuse."""
    small = write_archive({MANIFEST: b"{}", "a/b.txt": b"text " * 20, "c": b""})
    raws = [
        zipped(a=b"x"),
        b"x" + TWO,
        TWO + b"x",
        TWO[:-1],
        TWO + TWO,
        TWO.replace(MANIFEST.encode(), b"MANIFEST.json"),
    ]
    named = write_archive({MANIFEST: b"{}", "qqqq": b"x"})
    names = [
        b"../q",
        b"/qqq",
        b"qqq/",
        b".qqq",
        b"q//q",
        b"q/.q",
        b"qq:q",
        b"q\\qq",
        b"q\xe9qq",
        b"q qq",
        b"qq\nq",
        b"abcd",
    ]
    raws += [named.replace(b"qqqq", name) for name in names]
    at = TWO.index(b"PK\x01\x02")
    raws.append(TWO[:at] + b"gap" + TWO[at:-6] + (at + 3).to_bytes(4, "little") + bytes(2))
    honest = write_archive({MANIFEST: b"{}", "z": bytes(1_000_000)})
    size = (1_000_000).to_bytes(4, "little")
    raws += [honest, *(honest.replace(size, lie.to_bytes(4, "little")) for lie in (10, 999_999, 1_000_001, 2**32 - 1))]
    raws += [b"", b"PK", b"PK\x03\x04", bytes(22)]
    for bit in range(len(small) * 8):
        raw = bytearray(small)
        raw[bit // 8] ^= 1 << bit % 8
        raws.append(bytes(raw))
    dice = random.Random(4)
    for _ in range(100):
        raw = bytearray(SMALL)
        raw[dice.randrange(len(raw))] ^= 1 << dice.randrange(8)
        raws.append(bytes(raw))
    script = """async (raws) => {
      const answers = [];
      for (const raw of raws) {
        try {
          const files = await readArchive(decodeBase64(raw));
          answers.push(Object.fromEntries([...files].map(([name, content]) => [name, crc32(content)])));
        } catch (error) { answers.push(error instanceof Refused ? null : String(error)); }
      }
      return answers;
    }"""
    said = shared_page.evaluate(script, [base64.b64encode(raw).decode() for raw in raws])
    assert [one is not None for one in said] == [read_by_python(raw) for raw in raws]
    assert not any(isinstance(one, str) for one in said)
    assert sum(one is not None for one in said) > 1
