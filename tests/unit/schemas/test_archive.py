"""Proof bundles: the zip is read one way only, and every change of a file is found by the step that looks at it.

The golden bundle is committed and must verify for ever; here it is also changed as a forger would, manifest included.
"""

import random
import struct
import tracemalloc
import zipfile
import zlib
from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import pytest

from schemas.archive import FILES_MAX, MANIFEST, read_archive, read_folder, write_archive
from schemas.bundle import parse_bundle
from schemas.bundle_check import Pins
from schemas.canonical import canonical_json
from schemas.errors import ProofError
from schemas.steps import Step
from schemas.strict_json import read_json
from schemas.verify import main, verify_file, verify_whole
from services.query.bundles.files import notice_files
from tests.support import oracle
from tests.support.bundles import FOLDER, PIN_FILES, STATE, golden, keys_document, listed
from tests.support.receipts import KID, VKEY, base64url
from tests.support.tsa_tokens import issue
from tests.support.witness import key_pair

pytestmark = pytest.mark.unit

ZIP, PINS = golden()
STRANGERS_ROOT = issue("stranger", ca=True).root_pem
STRANGERS_JWKS = canonical_json(
    {"keys": [{"kty": "OKP", "crv": "Ed25519", "kid": KID, "x": base64url(bytes(31) + b"\1")}]}
)
FILES = read_archive(ZIP)
EVENT = next(name for name in FILES if name.endswith("/proof.json")).split("/")[1]
NOTICE = next(name for name in FILES if name.startswith("notices/")).split("/")[1].partition(".")[0]
STEPS = ["archive", "manifest", "contents", "keys", "checkpoint", "witnesses", "timestamps"]
STEPS += ["proofs", "notices", "catalogue", "receipts", "report"]


def steps_of(source: bytes | Path, pins: Pins = PINS) -> list[Step]:
    """Every step; a failed one is the last, and ends in an error that names it."""
    return verify_whole(source, pins)


def last(files: dict[str, bytes], pins: Pins = PINS) -> tuple[str, str]:
    """How the verification of these files, with a manifest that fits, ends."""
    step = steps_of(write_archive(listed(files)), pins)[-1]
    return step.outcome, step.name


# --- the golden bundle ---------------------------------------------------------------------------------------------


def test_the_golden_bundle_verifies_without_a_note_under_pins() -> None:
    steps = steps_of(ZIP)
    assert [(step.number, step.name) for step in steps] == list(enumerate(STEPS, start=1))
    assert {step.outcome for step in steps} == {"ok"}


def test_without_pins_the_bundles_own_anchors_are_remarked_on() -> None:
    steps = steps_of(ZIP, Pins())
    assert [step.name for step in steps if step.outcome == "remark"] == ["keys", "witnesses", "timestamps", "receipts"]
    assert steps[-1].outcome == "ok"


def test_every_kind_of_file_is_in_it() -> None:
    """What the mutations below do not touch they cannot find."""
    kinds = {name.rpartition(".")[2] for name in FILES}
    assert kinds == {"html", "json", "jws", "jwks", "nonce", "note", "pdf", "pem", "py", "signed"} | {
        "tlog-proof",
        "tsr",
        "txt",
        "yaml",
    }


def test_an_unpacked_folder_verifies_too(tmp_path: Path) -> None:
    unpack(tmp_path)
    assert {step.outcome for step in steps_of(tmp_path)} == {"ok"}
    (tmp_path / ".DS_Store").write_bytes(b"x")
    assert [step.name for step in steps_of(tmp_path) if step.outcome == "remark"] == ["archive"]
    (tmp_path / "link").symlink_to("README.txt")
    assert steps_of(tmp_path)[-1].name == "archive"


def unpack(folder: Path) -> None:
    """As any tool does."""
    with zipfile.ZipFile(BytesIO(ZIP)) as file:
        assert file.testzip() is None
        file.extractall(folder)


# --- each file, changed ----------------------------------------------------------------------------------------------

# Which steps can refuse a change of a file once the manifest fits it again; None: nothing signs it, and it is said so.
REFUSED_BY: dict[str, set[str] | None] = {
    "README.txt": None,
    "report.pdf": None,
    "verify.html": None,
    "verify.py": None,
    "catalogue/chatra.yaml": None,
    "report.json": {"report"},
    "receipts.jwks": {"receipts"},
    f"events/{EVENT}/proof.json": {"proofs"},
    f"events/{EVENT}/proof.tlog-proof": {"proofs"},
    f"events/{EVENT}/receipt.jws": {"receipts"},
    "logs/shop/keys.json": {"keys"},
    # A reader who pins a policy has no use for the bundle's own.
    "logs/shop/policy.txt": {"keys", "witnesses"},
    "logs/shop/checkpoints/5.note": {"checkpoint", "witnesses", "proofs"},
    "logs/shop/checkpoints/5.signed": {"checkpoint", "timestamps"},
    "logs/shop/timestamps/5-golden.tsr": {"timestamps"},
    "logs/shop/timestamps/5-golden.nonce": {"timestamps"},
    "logs/shop/timestamps/golden.pem": {"timestamps"},
    f"notices/{NOTICE}.json": {"notices"},
    f"notices/{NOTICE}.txt": {"notices"},
    f"notices/{NOTICE}.html": {"notices"},
}
# A change there may leave the meaning as it was: the time a key was made at, a witness's name, a line break of PEM,
# what a report adds to its records, the name of a member of a JWK that nobody reads, one of two copies of a certificate
# in a token.
MAY_PASS = (".tsr", "keys.json", "policy.txt", "golden.pem", "report.json", "receipts.jwks")


def test_the_table_names_every_file() -> None:
    assert set(REFUSED_BY) == set(FILES) - {MANIFEST}


@pytest.mark.parametrize("name", sorted(REFUSED_BY))
def test_a_flipped_bit_is_found_by_the_manifest(name: str) -> None:
    content = bytearray(FILES[name])
    content[len(content) // 2] ^= 1
    assert steps_of(write_archive({**FILES, name: bytes(content)}))[-1].name == "manifest"


@pytest.mark.parametrize("name", sorted(REFUSED_BY))
def test_a_flipped_bit_under_a_fitting_manifest_is_refused_by_its_step(name: str) -> None:
    dice = random.Random(name)
    pins = Pins(PINS.vkeys)  # so that the bundle's own policy, roots and receipt keys are looked at
    passed = 0
    others = {other: content for other, content in FILES.items() if not other.startswith("verify.")}  # the large ones
    for _ in range(10):
        content = bytearray(FILES[name])
        content[dice.randrange(len(content))] ^= 1 << dice.randrange(8)
        outcome, step = last({**others, name: bytes(content)}, pins)
        if outcome != "failed":
            passed += 1
        elif (refusing := REFUSED_BY[name]) is not None:
            assert step in refusing
        else:
            raise AssertionError(f"{step} looked at a file that proves nothing")
    if REFUSED_BY[name] is not None and not name.endswith(MAY_PASS):
        assert passed == 0


REQUIRED = sorted(set(REFUSED_BY) - {"verify.html", "verify.py", "catalogue/chatra.yaml", "logs/shop/policy.txt"})


@pytest.mark.parametrize("name", REQUIRED)
def test_a_missing_file_is_refused(name: str) -> None:
    outcome, step = last({other: content for other, content in FILES.items() if other != name})
    assert (outcome, step in {"contents", "notices"}) == ("failed", True)


def test_what_may_be_left_out_may() -> None:
    left = {name: content for name, content in FILES.items() if name in REQUIRED}
    assert last(left) == ("ok", "report")


@pytest.mark.parametrize(
    "name",
    [
        "extra.txt",
        "logs/shop/extra.json",
        f"logs/shop/checkpoints/{2**63}.note",
        "logs/shop/checkpoints/05.note",
        "logs/shop/checkpoints/6.note",
        "logs/other/policy.txt",
        "logs/shop/timestamps/5-other.tsr",
        "logs/shop/timestamps/other.pem",
        "events/01930f5e-7c1e-7b1a-9c55-0d7f1f0b9aff/proof.json",
        f"notices/{'ab' * 32}.json",
        f"notices/{NOTICE}.md",
        "catalogue/purposes/shop.yaml",
        "certificate.jws",
    ],
)
def test_a_file_too_many_is_refused(name: str) -> None:
    assert last({**FILES, name: FILES[MANIFEST]}) == ("failed", "contents")
    without_manifest = steps_of(write_archive({**FILES, name: b"x"}))[-1]
    assert without_manifest.name == "manifest"


@pytest.mark.parametrize(
    ("one", "other", "step"),
    [
        (f"events/{EVENT}/proof.json", f"events/{EVENT}/proof.tlog-proof", "proofs"),
        ("logs/shop/checkpoints/5.note", "logs/shop/checkpoints/5.signed", "checkpoint"),
        (f"notices/{NOTICE}.json", f"notices/{NOTICE}.txt", "notices"),
        (f"notices/{NOTICE}.html", f"notices/{NOTICE}.txt", "notices"),
        ("logs/shop/timestamps/5-golden.tsr", "logs/shop/timestamps/golden.pem", "timestamps"),
        ("report.json", "logs/shop/keys.json", "keys"),
    ],
)
def test_swapped_files_are_refused(one: str, other: str, step: str) -> None:
    assert last({**FILES, one: FILES[other], other: FILES[one]}) == ("failed", step)


def renamed(old: str, new: str) -> dict[str, bytes]:
    return {name.replace(old, new): content for name, content in FILES.items()}


@pytest.mark.parametrize(
    ("old", "new", "step"),
    [
        (EVENT, "01930f5e-7c1e-7b1a-9c55-0d7f1f0b9aff", "contents"),
        ("logs/shop/", "logs/shoq/", "keys"),
        ("checkpoints/5.", "checkpoints/6.", "contents"),
        (NOTICE, "ab" * 32, "notices"),
    ],
)
def test_renamed_files_are_refused(old: str, new: str, step: str) -> None:
    assert last(renamed(old, new)) == ("failed", step)


def test_a_wrong_size_in_every_name_is_refused() -> None:
    files = {name.replace("/5.", "/6.").replace("/5-", "/6-"): content for name, content in FILES.items()}
    assert last(files) == ("failed", "checkpoint")


def test_proofs_that_lead_to_another_note_of_the_same_tree_are_refused() -> None:
    """The note with one cosignature less opens as well; the files say that all proofs hold the other."""
    raw = FILES[f"events/{EVENT}/proof.json"]
    note = FILES["logs/shop/checkpoints/5.note"].decode()
    shorter = "".join(note.splitlines(keepends=True)[:-1])
    proof = parse_bundle(canonical_json(read_json(raw, controls=True)[0] | {"checkpoint": shorter}))
    files = {
        **FILES,
        f"events/{EVENT}/proof.json": proof.json(),
        f"events/{EVENT}/proof.tlog-proof": proof.tlog_proof().encode(),
    }
    assert last(files) == ("failed", "proofs")


def test_the_timestamped_bytes_are_the_logs_own_and_the_beginning_of_the_note() -> None:
    """Nobody knows which witnesses a note will have when it is timestamped; the proofs hold it with all of them."""
    unstamped = {name: content for name, content in FILES.items() if "timestamps" not in name}
    whole = FILES["logs/shop/checkpoints/5.note"]
    pins = Pins(PINS.vkeys)
    assert last({**unstamped, "logs/shop/checkpoints/5.signed": whole}, pins) == ("failed", "checkpoint")
    signed = FILES["logs/shop/checkpoints/5.signed"].decode().splitlines(keepends=True)
    turned = "".join([*signed[:4], signed[5], signed[4]]).encode()
    assert last({**unstamped, "logs/shop/checkpoints/5.signed": turned}, pins) == ("failed", "checkpoint")


def test_a_notice_that_no_record_names_is_refused() -> None:
    notice = read_json(FILES[f"notices/{NOTICE}.json"])[0] | {"version": "2"}
    assert last({**FILES, **notice_files(canonical_json(notice))}) == ("failed", "notices")


# --- anchors ----------------------------------------------------------------------------------------------------------


def test_the_first_key_vouches_for_the_second_and_the_other_way_round() -> None:
    for vkey in (VKEY, PINS.vkeys[0]):
        assert steps_of(ZIP, Pins((vkey,)))[3].outcome == "ok"


def stranger(name: str) -> str:
    return oracle.vkey(name, 1, oracle.public_key(bytes(31) + b"\1"))


@pytest.mark.parametrize(
    ("pins", "step"),
    [
        (Pins((stranger("log.example/logs/shop"),)), "keys"),
        (Pins((VKEY, stranger("log.example/logs/another"))), "keys"),
        (Pins(policy=f"log {stranger('log.example/logs/shop')}\nquorum none\n".encode()), "keys"),
        (Pins(policy=f"log {stranger('log.example/logs/another')}\nquorum none\n".encode()), "witnesses"),
        (Pins(roots=b"no certificate"), "timestamps"),
        (Pins(roots=STRANGERS_ROOT), "timestamps"),
        (Pins(jwks=b'{"keys":[]}'), "receipts"),
        (Pins(jwks=STRANGERS_JWKS), "receipts"),
    ],
)
def test_what_is_pinned_is_never_replaced_by_what_the_bundle_brings(pins: Pins, step: str) -> None:
    end = steps_of(ZIP, pins)[-1]
    assert (end.outcome, end.name) == ("failed", step)


def test_a_policy_that_asks_for_more_is_not_met() -> None:
    assert PINS.policy is not None
    stranger = key_pair("witness.example.com/w9", 4, bytes(31) + b"\1")[0]
    lines = PINS.policy.decode().splitlines()
    strict = "\n".join([*lines[:-2], f"witness w9 {stranger}", "group all-of-them all w0 w1 w9", lines[-1]]) + "\n"
    assert steps_of(ZIP, Pins(policy=strict.encode()))[-1].name == "witnesses"
    two = strict.replace("group all-of-them all", "group all-of-them 2")
    assert steps_of(ZIP, Pins(policy=two.encode()))[-1].outcome == "ok"


def test_keys_that_begin_later_do_not_count_for_an_older_checkpoint() -> None:
    """With the second key alone, and a statement that it signs from size 5 on, the checkpoint of size 5 is nobody's."""
    signed = FILES["logs/shop/checkpoints/5.signed"].decode().splitlines(keepends=True)
    by_second = "".join([*signed[:4], signed[5]]).encode()
    files = {**FILES, "logs/shop/checkpoints/5.signed": by_second}
    cosignatures = FILES["logs/shop/checkpoints/5.note"].removeprefix(FILES["logs/shop/checkpoints/5.signed"])
    files["logs/shop/checkpoints/5.note"] = by_second + cosignatures
    assert last({**files, "logs/shop/keys.json": keys_document(from_size=5)}) == ("failed", "checkpoint")
    assert last({**files, "logs/shop/keys.json": keys_document(from_size=4)}) == ("failed", "timestamps")


def test_a_bundle_from_before_a_rotation_verifies_under_the_keys_of_after(tmp_path: Path) -> None:
    """The bundle holds one key; the reader has today's keys.json of the log, and nothing of then."""
    signed = FILES["logs/shop/checkpoints/5.signed"].decode().splitlines(keepends=True)
    before, note = "".join(signed[:5]), FILES["logs/shop/checkpoints/5.note"].decode()
    proof = read_json(FILES[f"events/{EVENT}/proof.json"], controls=True)[0] | {
        "checkpoint": note.replace("".join(signed), before)
    }
    document = parse_bundle(canonical_json(proof))
    files = {
        name: content
        for name, content in FILES.items()
        if "timestamps" not in name and not name.endswith(("jws", "jwks"))
    }
    files |= {
        "logs/shop/checkpoints/5.signed": before.encode(),
        "logs/shop/checkpoints/5.note": document.checkpoint.encode(),
        "logs/shop/keys.json": keys_document(rotated=False),
        f"events/{EVENT}/proof.json": document.json(),
        f"events/{EVENT}/proof.tlog-proof": document.tlog_proof().encode(),
    }
    (tmp_path / "old.zip").write_bytes(write_archive(listed(files)))
    (tmp_path / "keys.json").write_bytes(keys_document())
    assert main([str(tmp_path / "old.zip"), "--keys", str(tmp_path / "keys.json")]) == 0
    assert main([str(tmp_path / "old.zip"), "--vkey", PINS.vkeys[0]]) == 1
    assert verify_file(tmp_path / "old.zip", VKEY)[3].outcome == "ok"


# --- the report and the manifest -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("member", "value"),
    [("index", 3), ("index", True), ("size", 6), ("what", None), ("who", {}), ("notice", None), ("log", "shoq")],
)
def test_a_report_that_says_otherwise_than_the_proofs_is_refused(member: str, value: object) -> None:
    report = read_json(FILES["report.json"], levels=32)[0]
    report["records"][0][member] = value
    assert last({**FILES, "report.json": canonical_json(report)}) == ("failed", "report")
    del report["records"][0][member]
    assert last({**FILES, "report.json": canonical_json(report)}) == ("failed", "report")


def test_a_report_may_say_more() -> None:
    report = read_json(FILES["report.json"], levels=32)[0]
    assert report["state"] == STATE
    assert last({**FILES, "report.json": canonical_json(report | {"more": 1})}) == ("ok", "report")


@pytest.mark.parametrize(
    "change",
    [
        {"format": "sayso-bundle/v2"},
        {"made_at": "2026-11-22T10:05:00Z"},
        {"about": {"kind": "event"}},
        {"about": {"kind": "person", "event": EVENT}},
        {"about": {"kind": "subject", "subject": EVENT, "complete": 1}},
        {"files": {}},
        {"more": 1},
    ],
)
def test_a_manifest_that_is_not_one_is_refused(change: dict[str, object]) -> None:
    manifest = read_json(FILES[MANIFEST])[0] | change
    assert steps_of(write_archive({**FILES, MANIFEST: canonical_json(manifest)}))[-1].name == "manifest"


def test_a_manifest_in_another_spelling_is_refused() -> None:
    for spelled in (b" " + FILES[MANIFEST], FILES[MANIFEST].replace(b'{"about"', b'{"format":1,"about"')):
        assert steps_of(write_archive({**FILES, MANIFEST: spelled}))[-1].name == "manifest"


# --- the zip ---------------------------------------------------------------------------------------------------------


def refused(raw: bytes) -> bool:
    try:
        read_archive(raw)
    except ProofError:
        return True
    return False


def test_no_bit_of_the_zip_can_change_what_is_read() -> None:
    small = write_archive({MANIFEST: b"{}", "a/b.txt": b"text " * 40, "c": b""})
    files = read_archive(small)
    packed = set(range(small.index(b"a/b.txt") + 7, small.rindex(b"PK\x03\x04")))
    for bit in range(len(small) * 8):
        raw = bytearray(small)
        raw[bit // 8] ^= 1 << bit % 8
        # Deflate has more than one spelling for a content; a header has not.
        assert refused(bytes(raw)) or (bit // 8 in packed and read_archive(bytes(raw)) == files)
    dice = random.Random(4)
    for _ in range(200):
        raw = bytearray(ZIP)
        raw[dice.randrange(len(raw))] ^= 1 << dice.randrange(8)
        assert refused(bytes(raw)) or read_archive(bytes(raw)) == FILES


def test_the_same_files_make_the_same_zip() -> None:
    assert write_archive(dict(reversed(FILES.items()))) == write_archive(FILES)


def zipped(**changes: object) -> bytes:
    """The same files as another tool writes them."""
    raw = BytesIO()
    with zipfile.ZipFile(raw, "w", zipfile.ZIP_DEFLATED) as file:
        for name, content in {MANIFEST: b"{}", **{k: v for k, v in changes.items() if isinstance(v, bytes)}}.items():
            file.writestr(name, content)
    return raw.getvalue()


Change = Callable[[bytes], bytes]
TWO = write_archive({MANIFEST: b"{}", "a": b"aa"})
CENTRAL = TWO.index(b"PK\x01\x02")


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"PK",
        zipped(a=b"x"),
        b"x" + TWO,
        TWO + b"x",
        TWO[:-1],
        TWO + TWO,
        TWO.replace(b"a", b"/"),
        TWO.replace(b"a", b"."),
        TWO.replace(b"a", b"\\"),
        TWO.replace(b"a", b"\xe9"),
        TWO.replace(MANIFEST.encode(), b"MANIFEST.json"),
        TWO[:CENTRAL] + b"gap" + TWO[CENTRAL:],
        TWO[:CENTRAL] + b"gap" + TWO[CENTRAL:-6] + struct.pack("<IH", CENTRAL + 3, 0),
    ],
)
def test_zips_that_two_tools_could_read_differently_are_refused(raw: bytes) -> None:
    assert refused(raw)


@pytest.mark.parametrize(
    "names", [["../a"], ["/a"], ["a//b"], ["a/"], [".a"], ["a/.b"], ["a:b"], ["é"], ["A", "a"], ["a" * 201], [""]]
)
def test_names_that_no_folder_should_get_are_refused(names: list[str]) -> None:
    with pytest.raises(ProofError):
        write_archive({MANIFEST: b"{}"} | dict.fromkeys(names, b""))
    with pytest.raises(ProofError):
        write_archive({"a": b""})


def test_bombs_do_not_go_off() -> None:
    """Sizes are checked before anything is unpacked, and a size that lies stops the unpacking."""
    squeezer = zlib.compressobj(9, zlib.DEFLATED, -15)
    packed = squeezer.compress(bytes(10_000_000)) + squeezer.flush()
    honest = write_archive({MANIFEST: b"{}", "z": bytes(10_000_000)})
    assert len(honest) < 20_000
    assert packed in honest
    lying = honest.replace(struct.pack("<I", 10_000_000), struct.pack("<I", 10))
    tracemalloc.start()
    try:
        assert refused(lying)
        assert tracemalloc.get_traced_memory()[1] < 1_000_000
    finally:
        tracemalloc.stop()
    assert refused(honest.replace(struct.pack("<I", 10_000_000), struct.pack("<I", 0xFFFFFFFF)))
    with pytest.raises(ProofError, match="larger"):
        write_archive({MANIFEST: b"{}"} | {f"f{n}": b"" for n in range(FILES_MAX)})


def test_a_folder_with_a_name_that_no_bundle_has_is_refused(tmp_path: Path) -> None:
    unpack(tmp_path)
    (tmp_path / "a b").write_bytes(b"")
    with pytest.raises(ProofError, match="name"):
        read_folder(tmp_path)


# --- the command line ------------------------------------------------------------------------------------------------


def test_the_command_line_takes_a_bundle(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    policy, roots, jwks, vkey = (str(FOLDER / name) for name in PIN_FILES)
    pinned = ["--vkey", Path(vkey).read_text().strip(), "--policy", policy, "--roots", roots, "--jwks", jwks]
    assert main([str(FOLDER / "golden.zip"), *pinned]) == 0
    assert capsys.readouterr().out.endswith("\nVerified.\n")
    assert main([str(FOLDER / "golden.zip")]) == 0
    assert "note    4 keys" in capsys.readouterr().out
    unpack(tmp_path)
    assert main(pinned, here=tmp_path) == 0
    (tmp_path / "report.json").write_bytes(b"{}")
    assert main(pinned, here=tmp_path) == 1
    assert capsys.readouterr().out.endswith("NOT VERIFIED: do not rely on this proof.\n")
    assert main([str(FOLDER / "golden.zip"), "--policy", roots]) == 2
    assert main([str(FOLDER / "golden.zip"), "--origin", "log.example/logs/shop"]) == 2
    (tmp_path / "proof.json").write_bytes(FILES[f"events/{EVENT}/proof.json"])
    assert main([str(tmp_path / "proof.json"), "--roots", roots]) == 2
    assert verify_whole(ZIP, PINS)[-1].outcome == "ok"
