"""schemas.policy: what a policy file says, every way to get one wrong, and what satisfies it."""

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from schemas.checkpoint import Checkpoint, parse_checkpoint, signed_checkpoint
from schemas.errors import CheckpointError, ProofError
from schemas.merkle import leaf_hash, root_of
from schemas.note import KeyKind, VerifierKey, log_key
from schemas.policy import Policy, parse_policy, verify_policy
from schemas.vectors.generate import HERE as VECTORS
from tests.support import oracle
from tests.support.witness import ED25519, ML_DSA, cosign, key_pair

pytestmark = pytest.mark.unit

ORIGIN = "example.com/consent-log"
LOG_KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
LOG = str(log_key(ORIGIN, LOG_KEY))
SEEDS = {name: name.encode() * 16 for name in ("w1", "w2", "w3", "pq")}
KINDS = {"w1": ED25519, "w2": ED25519, "w3": ED25519, "pq": ML_DSA}
VKEYS = {name: key_pair(f"witness.example/{name}", KINDS[name], SEEDS[name])[0] for name in SEEDS}
WITNESSES = "".join(f"witness {name} {vkey}\n" for name, vkey in VKEYS.items())
TEXT = Checkpoint(ORIGIN, 3, root_of([leaf_hash(letter) for letter in (b"a", b"b", b"c")])).text()


def note(*names: str) -> str:
    """The checkpoint of [a, b, c] with cosignatures of these witnesses."""
    signed = signed_checkpoint(parse_checkpoint(TEXT), LOG_KEY)
    return signed + "".join(
        cosign(TEXT, f"witness.example/{name}", KINDS[name], SEEDS[name], 1767225600) for name in names
    )


def test_a_whole_policy() -> None:
    policy = parse_policy(
        "# two of our own, and the one that survives quantum computers\n"
        f"log {LOG} https://log.example/logs/shop\n"
        "\n"
        f" \t witness w1 \t {VKEYS['w1']}   https://witness.example/w1\t\n"
        f"witness w2 {VKEYS['w2']}\n"
        "\t# indented\n"
        f"witness pq {VKEYS['pq']} https://pq.example\n"
        "group ours all w1 w2\n"
        "group enough any ours pq\n"
        "quorum enough\n"
    )
    assert [(str(log.key), log.url) for log in policy.logs] == [(LOG, "https://log.example/logs/shop")]
    assert [(w.name, str(w.key), w.url) for w in policy.witnesses] == [
        ("w1", VKEYS["w1"], "https://witness.example/w1"),
        ("w2", VKEYS["w2"], None),
        ("pq", VKEYS["pq"], "https://pq.example"),
    ]
    assert [(g.name, g.threshold, g.members) for g in policy.groups] == [
        ("ours", 2, ("w1", "w2")),
        ("enough", 1, ("ours", "pq")),
    ]
    for cosigned, met in (
        ((), False),
        (("w1",), False),
        (("w1", "w2"), True),
        (("pq",), True),
        (("ours",), False),
        (("enough",), False),
        (("stranger", "w2"), False),
    ):
        assert policy.is_met(cosigned) is met, cosigned


@pytest.mark.parametrize(("quorum", "met_by"), [("none", ()), ("w2", ("w2",))])
def test_a_quorum_without_groups(quorum: str, met_by: tuple[str, ...]) -> None:
    policy = parse_policy(f"{WITNESSES}quorum {quorum}\n".encode())
    assert policy.is_met(met_by)
    assert policy.is_met(()) is (quorum == "none")


def test_it_is_about_the_logs_it_lists_or_any() -> None:
    assert parse_policy("quorum none\n").accepts_log("any.example/log")
    listed = parse_policy(f"log {LOG}\nquorum none\n")
    assert listed.accepts_log(ORIGIN)
    assert not listed.accepts_log("any.example/log")


OTHER_LOG = str(log_key("example.com/other", LOG_KEY))
ECDSA = "example.com/x+00000000+Ag=="
SAME_KEY = key_pair("witness.example/alias", ED25519, SEEDS["w1"])[0]
W = f"witness w1 {VKEYS['w1']}\n"
MISTAKES = {
    "empty": ("", "no quorum line"),
    "no-quorum": (W, "no quorum line"),
    "cut-off": (f"{W}quorum w1", "does not end in a newline"),
    "two-quorums": (f"{W}quorum w1\nquorum w1\n", "line 3 .* quorum line already"),
    "quorum-none-and-another": (f"{W}quorum none\nquorum w1\n", "line 3 .* quorum line already"),
    "quorum-unknown": (f"{W}quorum w2\n", "line 2 .* no line above defines"),
    "quorum-before-its-witness": (f"quorum w1\n{W}", "line 1 .* no line above defines"),
    "quorum-of-two": (f"{W}quorum w1 w1\n", "line 2 .* write quorum"),
    "quorum-missing-name": (f"{W}quorum\n", "line 2 .* write quorum"),
    "comment-after-the-quorum": (f"{W}quorum w1 # why\n", "line 2 .* comments on lines of their own"),
    "unknown-word": (f"{W}witnesses w1\nquorum w1\n", "line 2 .* begins with none of"),
    "capital-word": (f"{W}Quorum w1\n", "line 2 .* begins with none of"),
    "carriage-returns": (W.replace("\n", "\r\n") + "quorum w1\r\n", "line 1 .* control character"),
    "carriage-return-in-a-comment": (f"# x\r\n{W}quorum w1\n", "line 1 .* control character"),
    "no-break-space": (f"{W}quorum\u00a0w1\n", "line 2 .* begins with none of"),
    "nul": (f"{W}quorum w1\x00\n", "line 2 .* control character"),
    "delete-character": (f"{W}# \x7f\nquorum w1\n", "line 2 .* control character"),
    "witness-without-key": ("witness w1\nquorum w1\n", "line 1 .* write witness"),
    "witness-with-too-much": (f"witness w1 {VKEYS['w1']} http://a http://b\nquorum w1\n", "line 1 .* write witness"),
    "witness-with-a-log-key": (f"witness w1 {LOG}\nquorum w1\n", "line 1 .* type 04 .* 06"),
    "witness-with-a-broken-key": (f"witness w1 {VKEYS['w1'][:-2]}\nquorum w1\n", "line 1 .*: "),
    "witness-with-an-ecdsa-key": (f"witness w1 {ECDSA}\nquorum w1\n", "line 1 .*: "),
    "witness-named-none": (f"witness none {VKEYS['w1']}\nquorum none\n", "line 1 .* reserved"),
    "witness-name-twice": (f"{W}witness w1 {VKEYS['w2']}\nquorum w1\n", "line 2 .* must differ"),
    "witness-key-twice": (f"{W}witness w2 {VKEYS['w1']}\nquorum w1\n", "line 2 .* same public key"),
    "witness-key-under-an-alias": (f"{W}witness w2 {SAME_KEY}\nquorum w1\n", "line 2 .* same public key"),
    "log-without-key": ("log\nquorum none\n", "line 1 .* write log"),
    "log-with-too-much": (f"log {LOG} http://a b\nquorum none\n", "line 1 .* write log"),
    "log-with-a-witness-key": (f"log {VKEYS['w1']}\nquorum none\n", "line 1 .* type 01"),
    "log-twice": (f"log {LOG}\nlog {LOG}\nquorum none\n", "line 2 .* same public key"),
    "log-key-under-another-origin": (f"log {LOG}\nlog {OTHER_LOG}\nquorum none\n", "line 2 .* same public key"),
    "group-without-members": (f"{W}group g all\nquorum w1\n", "line 2 .* at least one member"),
    "group-unknown-member": (f"{W}group g all w1 w2\nquorum g\n", "line 2 .* no line above defines"),
    "group-of-itself": (f"{W}group g all g\nquorum g\n", "line 2 .* no line above defines"),
    "group-of-a-later-group": (f"{W}group a any b\ngroup b any w1\nquorum a\n", "line 2 .* no line above defines"),
    "group-of-none": (f"{W}group g all none\nquorum g\n", "line 2 .* stands only alone"),
    "group-member-twice": (f"{W}group g all w1 w1\nquorum g\n", "line 2 .* count once"),
    "member-of-two-groups": (f"{W}group g all w1\ngroup h all w1\nquorum g\n", "line 3 .* count once"),
    "group-named-none": (f"{W}group none all w1\nquorum none\n", "line 2 .* reserved"),
    "group-named-as-a-witness": (f"{W}group w1 all w1\nquorum w1\n", "line 2 .* must differ"),
    **{
        f"threshold-{value!a}": (f"{WITNESSES}group g {value} w1 w2\nquorum g\n", "line 5 .* number from 1")
        for value in ("0", "3", "-1", "+1", "01", "1.0", "1_0", "\u0661", "most", "ALL", "9" * 40)
    },
}


@pytest.mark.parametrize("name", MISTAKES)
def test_every_mistake_is_named_with_its_line(name: str) -> None:
    text, sentence = MISTAKES[name]
    with pytest.raises(ProofError, match=sentence):
        parse_policy(text)


def test_a_file_that_is_not_text() -> None:
    with pytest.raises(ProofError, match="not UTF-8"):
        parse_policy(b"# caf\xe9\nquorum none\n")


def test_the_file_may_be_large() -> None:
    seeds = [number.to_bytes(32, "big") for number in range(1, 65)]
    lines = [f"witness w{n} {key_pair(f'w.example/{n}', ED25519, seed)[0]}" for n, seed in enumerate(seeds)]
    # 64 groups, each holding the one before it: depth is no recursion.
    lines += ["group g0 any w0", *(f"group g{n} 2 g{n - 1} w{n}" for n in range(1, 64)), "quorum g63"]
    policy = parse_policy("".join(f"{line}\n" for line in lines))
    everyone = {f"w{n}" for n in range(64)}
    assert policy.is_met(everyone)
    assert not any(policy.is_met(everyone - {one}) for one in everyone)


TWO_OF_THREE = f"{WITNESSES}group ours 2 w1 w2 w3\ngroup both all ours pq\nquorum both\n"


@pytest.mark.parametrize(
    ("names", "met"),
    [
        ((), False),
        (("w1", "w2"), False),
        (("pq",), False),
        (("w1", "pq"), False),
        (("w1", "w2", "pq"), True),
        (("w3", "pq", "w1"), True),
        (("w1", "w1", "pq"), False),
        (("w1", "w2", "w3", "pq"), True),
    ],
)
@pytest.mark.parametrize("logs", ["", f"log {LOG}\n"], ids=["any-log", "this-log"])
def test_a_checkpoint_with_or_without_quorum(names: tuple[str, ...], met: bool, logs: str) -> None:
    policy = parse_policy(logs + TWO_OF_THREE)
    if not met:
        with pytest.raises(ProofError):
            verify_policy(note(*names), ORIGIN, policy)
        return
    signatures = verify_policy(note(*names).encode(), ORIGIN, policy)
    expected: list[tuple[str, int | None]] = [(LOG, None)] if logs else []
    expected += [(VKEYS[name], 1767225600) for name in names]
    assert [(str(signature.key), signature.timestamp) for signature in signatures] == expected


def policy_of(logs: str = f"log {LOG}\n", quorum: str = "w1") -> Policy:
    return parse_policy(f"{logs}{WITNESSES}quorum {quorum}\n")


def test_a_lack_says_how_many_there_are() -> None:
    with pytest.raises(ProofError, match="1 of the policy's 4 witnesses"):
        verify_policy(note("w2"), ORIGIN, policy_of())


def test_another_log_is_refused() -> None:
    with pytest.raises(ProofError, match="does not list this log"):
        verify_policy(note("w1"), "example.com/other", policy_of())
    with pytest.raises(CheckpointError, match="another log"):
        verify_policy(note("w1"), "example.com/other", policy_of(logs=""))


def test_the_log_itself_must_have_signed() -> None:
    stranger = Ed25519PrivateKey.from_private_bytes(bytes(32))
    with pytest.raises(CheckpointError, match="no key that the policy lists"):
        verify_policy(note("w1"), ORIGIN, policy_of(logs=f"log {log_key(ORIGIN, stranger)}\n"))
    # One of several keys of a log is enough: the old and the new one around a rotation.
    assert verify_policy(note("w1"), ORIGIN, policy_of(logs=f"log {log_key(ORIGIN, stranger)}\nlog {LOG}\n"))


def test_a_failing_cosignature_condemns_the_note_even_beside_a_quorum() -> None:
    w2 = VerifierKey("witness.example/w2", KeyKind.COSIGNATURE_V1, oracle.public_key(SEEDS["w2"]))
    forged = oracle.signature_line(w2.name, ED25519, w2.public_key, bytes(7) + b"\x01" + bytes(64))
    with pytest.raises(CheckpointError, match="does not verify"):
        verify_policy(note("w1") + forged, ORIGIN, policy_of())


def test_a_policy_that_asks_for_nothing() -> None:
    assert verify_policy(note(), ORIGIN, policy_of(logs="", quorum="none")) == ()
    assert [str(s.key) for s in verify_policy(note("w1"), ORIGIN, policy_of(quorum="none"))] == [LOG, VKEYS["w1"]]


def test_the_vectors() -> None:
    pq = (VECTORS / "checkpoints" / "ml-dsa-44.vkey").read_text(encoding="utf-8").strip()
    ed = "witness.example.com/w1+969980cf+BCmsuuFBvMrwsi4alNNNC8c2HlJtC/4SyJeUvJMilm3X"
    policy = parse_policy(f"log {LOG}\nwitness ed {ed}\nwitness pq {pq}\ngroup one any ed pq\nquorum one\n")
    for name in ("happy-path-cosigned", "happy-path-ml-dsa-44"):
        opened = verify_policy((VECTORS / "checkpoints" / f"{name}.txt").read_bytes(), ORIGIN, policy)
        assert [signature.timestamp for signature in opened] == [None, 1767225600]
    with pytest.raises(ProofError):
        verify_policy((VECTORS / "checkpoints" / "happy-path-log-only.txt").read_bytes(), ORIGIN, policy)
