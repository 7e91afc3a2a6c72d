"""schemas.note: verifier keys, signing byte for byte, and when a note opens."""

import json

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA44PrivateKey

from schemas.errors import CheckpointError
from schemas.note import (
    KeyKind,
    OpenedNote,
    Signature,
    VerifierKey,
    decode_base64,
    decode_decimal,
    decode_text,
    encode_base64,
    log_key,
    open_note,
    parse_tree_head,
    parse_verifier_key,
    sign_note,
)
from schemas.vectors.generate import HERE as VECTORS
from tests.support import oracle

pytestmark = pytest.mark.unit

ORIGIN = "example.com/consent-log"
LOG_SEED = bytes(range(32))
LOG_PRIVATE = Ed25519PrivateKey.from_private_bytes(LOG_SEED)
LOG = log_key(ORIGIN, LOG_PRIVATE)
LOG_VKEY = "example.com/consent-log+f289d35b+AQOhB7/zzhC+HXDdGOdLwJln5NYwm6UNXx3chmQSVTG4"
WITNESS_SEED = bytes(range(0x20, 0x40))
WITNESS_VKEY = "witness.example.com/w1+969980cf+BCmsuuFBvMrwsi4alNNNC8c2HlJtC/4SyJeUvJMilm3X"
WITNESS = parse_verifier_key(WITNESS_VKEY)
TEXT = "example.com/consent-log\n3\nNmQuc8JUCrEh46a/lUWwokmCzYMOsT080Z3jzmwCHsE=\n"
PQ_NAME = "witness.example.com/pq1"
PQ_PRIVATE = MLDSA44PrivateKey.from_seed_bytes(bytes(range(0x40, 0x60)))
PQ = VerifierKey(PQ_NAME, KeyKind.ML_DSA_44, PQ_PRIVATE.public_key().public_bytes_raw())


def vector(name: str) -> str:
    return (VECTORS / "checkpoints" / name).read_text(encoding="utf-8")


def pq_line(message: bytes, timestamp: int) -> str:
    blob = timestamp.to_bytes(8, "big") + PQ_PRIVATE.sign(message)
    return oracle.signature_line(PQ_NAME, 6, PQ.public_key, blob)


def test_keys_as_published() -> None:
    assert str(LOG) == LOG_VKEY
    assert LOG.key_id.hex() == "f289d35b"
    assert parse_verifier_key(LOG_VKEY) == LOG
    assert str(WITNESS) == WITNESS_VKEY
    assert WITNESS.kind is KeyKind.COSIGNATURE_V1
    # The type byte is part of the id: the same key as a log key is another key.
    assert VerifierKey(WITNESS.name, KeyKind.ED25519, WITNESS.public_key).key_id.hex() == "78b3b84c"
    assert PQ.key_id.hex() == "5dd7b5d2"
    assert str(PQ) == vector("ml-dsa-44.vkey").strip()
    stored = json.loads((VECTORS / "keys.json").read_bytes())
    assert (stored["log"]["vkey"], stored["witness"]["vkey"]) == (LOG_VKEY, WITNESS_VKEY)


@pytest.mark.parametrize(
    "vkey",
    [
        *("", "+", "++", "name", "name+00000000", "name+00000000+", LOG_VKEY + "\n", " " + LOG_VKEY, LOG_VKEY[:-1]),
        LOG_VKEY.replace("f289d35b", "F289D35B"),
        LOG_VKEY.replace("f289d35b", "f289d35c"),
        LOG_VKEY.replace("f289d35b", "f289d35"),
        LOG_VKEY.replace("f289d35b", "\uff1689d35b"),
        LOG_VKEY.replace("example.com/", "example.org/"),
        LOG_VKEY.replace("example.com/", "example.com /"),
        LOG_VKEY.replace("example.com/consent-log", ""),
        LOG_VKEY.replace("+AQ", "+Ag"),
        LOG_VKEY.replace("+AQ", "+_Q"),
        "caf\ud800" + LOG_VKEY,
        oracle.vkey(ORIGIN, 1, LOG.public_key[:31]),
        oracle.vkey(ORIGIN, 1, LOG.public_key + b"\0"),
        oracle.vkey(ORIGIN, 1, b""),
        oracle.vkey(ORIGIN, 2, LOG.public_key),
        oracle.vkey(ORIGIN, 0xFF, LOG.public_key),
        oracle.vkey(ORIGIN, 6, LOG.public_key),
        oracle.vkey("a\u00a0b", 1, LOG.public_key),
        oracle.vkey("a\x1fb", 1, LOG.public_key),
        oracle.vkey("a\nb", 1, LOG.public_key),
    ],
)
def test_verifier_keys_are_strict(vkey: str) -> None:
    with pytest.raises(CheckpointError):
        parse_verifier_key(vkey)


def test_signing_is_byte_for_byte() -> None:
    signed = sign_note(TEXT, ORIGIN, LOG_PRIVATE)
    assert signed == vector("happy-path-log-only.txt")
    assert signed.endswith(
        "\n\n— example.com/consent-log "
        "8onTW+0BJGHXq0yVeG3V5izm3o2edlN+iXZc8c2X00xUf3m3u2m38ecVHuY9dpH+XkiUrFFurecDNyLrbAdm/BoiKQE=\n"
    )
    for text in ("", "no newline", "tab\t\n", "cr\r\n", "nul\0\n", "\ud800\n"):
        with pytest.raises(CheckpointError):
            sign_note(text, ORIGIN, LOG_PRIVATE)
    with pytest.raises(CheckpointError):
        sign_note(TEXT, "a name", LOG_PRIVATE)


def test_a_note_of_any_text_opens_at_its_last_empty_line() -> None:
    text = "è subito sera\n\n\nwith empty lines\n\n"
    signed = sign_note(text, ORIGIN, LOG_PRIVATE)
    opened = OpenedNote(text, (Signature(LOG, None),))
    assert open_note(signed, [LOG]) == opened
    assert open_note(signed.encode(), [WITNESS, LOG]) == opened


def test_cosignatures_give_their_time() -> None:
    note = vector("happy-path-cosigned.txt")
    assert note.endswith(
        "— witness.example.com/w1 lpmAzwAAAABpVbkAZs3d5IACPmx1OvRIqRxJcOZgdVfqh+JAKKjtHd3AAEJiie0kk12ot/jq6nXnE14E"
        "AKqJvgHleh6wwEXGsDCpBA==\n"
    )
    both = (Signature(LOG, None), Signature(WITNESS, 1767225600))
    assert open_note(note, [LOG, WITNESS]).signatures == both
    assert open_note(note, [WITNESS]).signatures == both[1:]
    assert open_note(note, [LOG]).signatures == both[:1]


def test_ml_dsa_cosignature() -> None:
    # 1. The published note, whose signature was made elsewhere.
    note = vector("happy-path-ml-dsa-44.txt")
    assert open_note(note, [LOG, PQ]).signatures == (Signature(LOG, None), Signature(PQ, 1767225600))
    # 2. The message, as published for another cosigner name.
    root = oracle.mth([oracle.leaf(entry) for entry in (b"a", b"b", b"c")])
    assert oracle.subtree_message("witness.example.com/w1", 1767225600, ORIGIN, 3, root).hex() == (
        "737562747265652f76310a00167769746e6573732e6578616d706c652e636f6d2f7731000000006955b900176578616d706c652e636f6d"
        "2f636f6e73656e742d6c6f670000000000000000000000000000000336642e73c2540ab121e3a6bf9545b0a24982cd830eb13d3cd19de3"
        "ce6c021ec1"
    )
    # 3. The same message is what we verify, and nothing else is: time, size and cosigner are all covered.
    good = oracle.subtree_message(PQ_NAME, 1767225600, ORIGIN, 3, root)
    assert open_note(TEXT + "\n" + pq_line(good, 1767225600), [PQ]).signatures == (Signature(PQ, 1767225600),)
    for message, timestamp in (
        (good, 1767225601),
        (oracle.subtree_message(PQ_NAME, 1767225600, ORIGIN, 4, root), 1767225600),
        (oracle.subtree_message(PQ_NAME + "x", 1767225600, ORIGIN, 3, root), 1767225600),
        (oracle.subtree_message(PQ_NAME, 0, ORIGIN, 3, root), 0),
        (oracle.subtree_message(PQ_NAME, 2**63, ORIGIN, 3, root), 2**63),
    ):
        with pytest.raises(CheckpointError):
            open_note(TEXT + "\n" + pq_line(message, timestamp), [PQ])


def test_ml_dsa_signs_only_checkpoints_with_short_names() -> None:
    with pytest.raises(CheckpointError, match="three lines"):
        open_note("not a checkpoint\n\n" + pq_line(b"", 1), [PQ])
    long_origin = TEXT.replace("example.com", "e" * 256)
    with pytest.raises(CheckpointError, match="255 bytes"):
        open_note(long_origin + "\n" + pq_line(b"", 1), [PQ])


def test_a_known_failure_condemns_even_beside_a_good_signature() -> None:
    good = vector("happy-path-cosigned.txt")
    bad = good.replace("AABpVbkAZs3d", "AABpVbkAZs3c")
    assert open_note(bad, [LOG]).text == TEXT  # unknown to this verifier, hence ignored
    with pytest.raises(CheckpointError, match="does not verify"):
        open_note(bad, [LOG, WITNESS])


@pytest.mark.parametrize("length", [1, 7, 8, 63, 71, 73])
def test_cosignatures_of_another_length_do_not_verify(length: int) -> None:
    line = oracle.signature_line(WITNESS.name, 4, WITNESS.public_key, bytes(length))
    with pytest.raises(CheckpointError, match="does not verify"):
        open_note(TEXT + "\n" + line, [WITNESS])


def test_no_known_signature_no_note() -> None:
    other = log_key(ORIGIN, Ed25519PrivateKey.from_private_bytes(bytes(32)))
    for known in ([], [WITNESS], [other]):
        with pytest.raises(CheckpointError, match="no known key"):
            open_note(vector("happy-path-log-only.txt"), known)


def test_a_hundred_signature_lines_and_no_more() -> None:
    note = vector("happy-path-log-only.txt")
    stranger = "— stranger.example/key AAAAAAA=\n"
    assert open_note(note + stranger * 99, [LOG]).signatures == (Signature(LOG, None),)
    with pytest.raises(CheckpointError, match="more than 100"):
        open_note(note + stranger * 100, [LOG])


@pytest.mark.parametrize(
    "text",
    ["=", "A", "AA", "AAA", "AA=", "AB==", "AAB=", "AA==\n", " AA==", "A-_=", "AA==AA==", "\u0410A=="],
)
def test_base64_is_canonical(text: str) -> None:
    assert decode_base64(text) is None
    assert decode_base64(encode_base64(b"\xff\xfe")) == b"\xff\xfe"


@pytest.mark.parametrize(
    "text",
    ["", "00", "01", "+1", "-1", "1_0", " 1", "1 ", "1\n", "0x1", "1.0", "\u0661", "\uff11", str(2**63), "9" * 5000],
)
def test_decimals_are_canonical(text: str) -> None:
    assert decode_decimal(text) is None
    assert decode_decimal("0") == 0
    assert decode_decimal(str(2**63 - 1)) == 2**63 - 1


def test_text_is_utf_8_without_control_characters() -> None:
    assert decode_text("é\n".encode()) == "é\n"
    for data in (b"\xff", b"\xed\xa0\x80", b"\xc0\xaf", "\ud800", "\x1f", "\r", "\t", "\0"):
        assert decode_text(data) is None


def test_tree_heads_keep_extension_lines() -> None:
    head = parse_tree_head(TEXT + "one\ntwo \n")
    assert (head.origin, head.size, head.extensions) == (ORIGIN, 3, ("one", "two "))
    assert encode_base64(head.root) == "NmQuc8JUCrEh46a/lUWwokmCzYMOsT080Z3jzmwCHsE="
