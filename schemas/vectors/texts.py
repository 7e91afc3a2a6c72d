"""Signed checkpoints and tlog-proof files, whole and damaged, as generate.py writes them.

A file whose name begins with happy-path must be accepted; every other one must be refused. Names that end in
"but-signed" carry a valid signature of the log over a text that no strict parser may take for a checkpoint.
"""

import base64
from collections.abc import Iterator
from typing import Final

from schemas.vectors.hashes import ABC_LEAVES, path_mutations
from tests.support import oracle

LOG: Final = "example.com/consent-log"
LOG_SEED: Final = bytes(range(0x20))
WITNESS: Final = "witness.example.com/w1"
WITNESS_SEED: Final = bytes(range(0x20, 0x40))
STRANGER_SEED: Final = bytes(range(0x60, 0x80))
COSIGNED_AT: Final = 1767225600  # 2026-01-01T00:00:00Z


def abc_text(
    size: str = "3", root: str = oracle.b64(oracle.mth(ABC_LEAVES)), origin: str = LOG, extensions: str = ""
) -> str:
    """The text of the checkpoint of [a, b, c], or of one like it."""
    return f"{origin}\n{size}\n{root}\n{extensions}"


def log_signed(text: str) -> str:
    """The note of `text` signed by the log alone."""
    return f"{text}\n{oracle.log_line(text, LOG, LOG_SEED)}"


def _cosigned(text: str) -> str:
    return log_signed(text) + oracle.cosignature_line(text, WITNESS, WITNESS_SEED, COSIGNED_AT)


def checkpoints() -> Iterator[tuple[str, bytes]]:
    """Signed checkpoints; names that begin with happy-path open under the log's and the witness's key."""
    abc = abc_text()
    stranger = "— stranger.example/key " + oracle.b64(b"\x01\x02\x03\x04" + bytes(64)) + "\n"
    yield "happy-path-empty-log", log_signed(oracle.checkpoint_text(LOG, 0, oracle.EMPTY)).encode()
    yield "happy-path-log-only", log_signed(abc).encode()
    yield "happy-path-cosigned", _cosigned(abc).encode()
    yield "happy-path-extension-line", _cosigned(abc_text(extensions="kept verbatim\n")).encode()
    yield "happy-path-unknown-signer-ignored", (log_signed(abc) + stranger).encode()
    known_name = oracle.signature_line(LOG, 1, oracle.public_key(STRANGER_SEED), bytes(64))
    yield "happy-path-known-name-with-unknown-id-ignored", (log_signed(abc) + known_name).encode()
    yield "happy-path-17-signatures", (log_signed(abc) + stranger * 16).encode()
    for name, mutated in _note_mutations(_cosigned(abc), abc):
        yield name, mutated.encode() if isinstance(mutated, str) else mutated
    for name, text in _text_mutations():
        # Signed by the log itself: only the parser stands between these and a checkpoint.
        yield f"{name}-but-signed", log_signed(text).encode()


def _text_mutations() -> Iterator[tuple[str, str]]:
    root = oracle.b64(oracle.mth(ABC_LEAVES))
    for name, size in (
        ("plus-sign", "+3"),
        ("minus-sign", "-3"),
        ("minus-zero", "-0"),
        ("underscore", "0_3"),
        ("leading-zero", "03"),
        ("leading-space", " 3"),
        ("trailing-space", "3 "),
        ("arabic-indic-digit", "\u0663"),
        ("fullwidth-digit", "\uff13"),
        ("superscript-digit", "\u00b3"),
        ("hexadecimal", "0x3"),
        ("fraction", "3.0"),
        ("exponent", "3e0"),
        ("empty", ""),
        ("2-to-63", str(2**63)),
        ("5000-digits", "3" * 5000),
    ):
        yield f"size-{name}", abc_text(size=size)
    for name, encoded in (
        # The last character carries two bits that no byte uses; the decoders of some languages ignore them.
        ("stray-bits", root[:-2] + "F="),
        ("unpadded", root.rstrip("=")),
        ("padded-twice", root + "="),
        ("url-alphabet", root.replace("/", "_").replace("+", "-")),
        ("31-bytes", oracle.b64(oracle.mth(ABC_LEAVES)[:31])),
        ("33-bytes", oracle.b64(oracle.mth(ABC_LEAVES) + b"\0")),
        ("hexadecimal", oracle.mth(ABC_LEAVES).hex()),
        ("trailing-space", root + " "),
        ("inner-space", root[:20] + " " + root[20:]),
        ("missing", ""),
    ):
        yield f"root-{name}", abc_text(root=encoded)
    yield "size-zero-with-another-root", abc_text(size="0")
    yield "origin-empty", abc_text(origin="")
    yield "origin-of-another-log", abc_text(origin="example.com/consent-log-2")
    yield "origin-with-trailing-slash", abc_text(origin=LOG + "/")
    yield "extension-line-empty", abc_text(extensions="\nafter an empty line\n")
    yield "root-line-missing", f"{LOG}\n3\n"
    yield "size-and-root-swapped", f"{LOG}\n{root}\n3\n"
    yield "carriage-returns", abc_text().replace("\n", "\r\n")


def _note_mutations(note: str, text: str) -> Iterator[tuple[str, str | bytes]]:
    log_line, witness_line = note.splitlines(keepends=True)[-2:]
    body = text + "\n"
    yield "size-changed", note.replace("\n3\n", "\n4\n")
    yield "root-bit-flip", note.replace("NmQuc8", "NmQuc9")
    yield "signature-bit-flip", note.replace("8onTW+0B", "8onTW+0A")
    yield "signature-truncated", note.replace("BoiKQE=\n", "Boi\n")
    yield "signature-stray-bits", note.replace("BoiKQE=\n", "BoiKQF=\n")
    yield "signature-unpadded", note.replace("BoiKQE=\n", "BoiKQE\n")
    yield "signature-key-id-only", body + f"— {LOG} {oracle.b64(bytes.fromhex('f289d35b'))}\n"
    yield "signature-with-trailing-space", note.replace("BoiKQE=\n", "BoiKQE= \n")
    yield "signature-appended-bytes", body + f"— {LOG} {oracle.b64(_signature(text) + bytes(1))}\n"
    yield "cosignature-bit-flip", note.replace("AABpVbkAZs3d", "AABpVbkAZs3c")
    yield "cosignature-time-changed", note.replace("AABpVbkAZs3d", "AABpVbkBZs3d")
    yield (
        "cosignature-of-another-checkpoint",
        body + log_line + oracle.cosignature_line(abc_text(size="4"), WITNESS, WITNESS_SEED, COSIGNED_AT),
    )
    yield "cosignature-time-past-2-to-63", body + log_line + oracle.cosignature_line(text, WITNESS, WITNESS_SEED, 2**63)
    yield "cosignature-without-the-log", body + witness_line
    yield "unknown-signers-only", body + oracle.log_line(text, LOG, STRANGER_SEED)
    yield "log-key-signs-under-another-name", body + oracle.log_line(text, "example.com/other", LOG_SEED)
    yield "second-signature-of-the-log-fails", note + log_line.replace("8onTW+0B", "8onTW+0A")
    yield "signatures-missing", text
    yield "signature-block-empty", body
    yield "blank-line-missing", text + log_line
    yield "signature-line-without-dash", note.replace("— example", "example")
    yield "signature-line-with-hyphen", note.replace("— example", "- example")
    yield "signature-line-without-name", note.replace(f"— {LOG} ", "—  ")
    yield "signature-line-name-with-plus", note + f"— a+b {oracle.b64(bytes(68))}\n"
    yield "signature-line-with-two-spaces", note.replace(f"— {LOG} ", f"— {LOG}  ")
    yield "signature-line-damaged-of-unknown-signer", note + "— stranger.example/key AAAA\n"
    yield "signature-line-of-unknown-signer-without-signature", note + "— stranger.example/key AQIDBA==\n"
    yield "text-after-the-signatures", note + "trailing\n"
    yield "final-newline-missing", note[:-1]
    yield "final-newline-replaced", note[:-1] + "x"
    yield "trailing-newline", note + "\n"
    yield "leading-byte-order-mark", "\ufeff" + note
    yield "extension-line-added-after-signing", note.replace("HsE=\n", "HsE=\nadded\n")
    yield "carriage-returns-added", note.replace("\n", "\r\n")
    yield "tab", note.replace("\n3\n", "\n3\t\n")
    yield "nul", note.replace("\n3\n", "\n3\0\n")
    yield "not-utf-8", note.encode().replace(b"\n3\n", b"\n3\xff\n")
    yield "surrogate-in-utf-8", note.encode().replace(b"\n3\n", b"\n\xed\xa0\x80\n")
    yield "empty", ""
    yield "101-signatures", note + "— stranger.example/key AAAAAAA=\n" * 99


def _signature(text: str) -> bytes:
    """Key id and signature of the log over `text`, undressed."""
    return base64.b64decode(oracle.log_line(text, LOG, LOG_SEED).split(" ")[2])


# --- tlog-proof ---------------------------------------------------------------------------------------------


def tlog_proofs() -> Iterator[tuple[str, bytes]]:
    """Proofs of entry `b` at index 1 of [a, b, c]; names that begin with happy-path verify under the log's key."""
    path = oracle.path(1, ABC_LEAVES)
    checkpoint = _cosigned(abc_text())
    happy = oracle.tlog_proof(1, path, checkpoint, b"hello")
    yield "happy-path", happy.encode()
    yield "happy-path-without-extra", oracle.tlog_proof(1, path, checkpoint).encode()
    yield "happy-path-log-signature-only", oracle.tlog_proof(1, path, log_signed(abc_text())).encode()
    for name, mutated in _proof_line_mutations(happy, path):
        yield name, mutated.encode() if isinstance(mutated, str) else mutated
    for name, damaged in path_mutations(path, oracle.mth(ABC_LEAVES)):
        yield name, oracle.tlog_proof(1, damaged, checkpoint).encode()
    yield "path-of-64-hashes", oracle.tlog_proof(1, [*path, *([bytes(32)] * 62)], checkpoint).encode()
    for name, note in _note_mutations(checkpoint, abc_text()):
        # The proof is checked against the log's key alone, so damage to the witness's line only is ignored.
        if not name.startswith("cosignature-") or name == "cosignature-without-the-log":
            head = oracle.tlog_proof(1, path, "").encode()
            yield f"checkpoint-{name}", head + (note.encode() if isinstance(note, str) else note)
    for name, text in _text_mutations():
        yield f"checkpoint-{name}-but-signed", oracle.tlog_proof(1, path, log_signed(text)).encode()


def _proof_line_mutations(happy: str, path: list[bytes]) -> Iterator[tuple[str, str | bytes]]:
    def index(value: str) -> str:
        return happy.replace("\nindex 1\n", f"\nindex {value}\n")

    def line(old: str, new: str) -> str:
        return happy.replace(old, new, 1)

    for name, value in (
        ("at-size", "3"),
        ("past-size", "4"),
        ("of-another-entry", "0"),
        ("plus-sign", "+1"),
        ("minus-sign", "-1"),
        ("underscore", "0_1"),
        ("leading-zero", "01"),
        ("leading-space", " 1"),
        ("trailing-space", "1 "),
        ("arabic-indic-digit", "\u0661"),
        ("fullwidth-digit", "\uff11"),
        ("superscript-digit", "\u00b9"),
        ("hexadecimal", "0x1"),
        ("empty", ""),
        ("2-to-63", str(2**63)),
        ("plus-2-to-64", str(2**64 + 1)),
        ("5000-digits", "1" * 5000),
    ):
        yield f"index-{name}", index(value)
    first = oracle.b64(path[0])
    yield "index-line-missing", line("index 1\n", "")
    yield "index-word-missing", line("index 1\n", "1\n")
    yield "index-line-and-path-missing", "c2sp.org/tlog-proof@v1" + happy[happy.index("\n\n") :]
    yield "index-line-twice", line("index 1\n", "index 1\nindex 1\n")
    yield "index-line-in-capitals", line("index 1\n", "Index 1\n")
    yield "index-line-after-the-path", line(f"index 1\n{first}\n", f"{first}\nindex 1\n")
    yield "header-missing", line("c2sp.org/tlog-proof@v1\n", "")
    yield "header-of-version-2", line("tlog-proof@v1", "tlog-proof@v2")
    yield "header-with-trailing-space", line("tlog-proof@v1\n", "tlog-proof@v1 \n")
    yield "header-only", "c2sp.org/tlog-proof@v1\n"
    yield "leading-newline", "\n" + happy
    yield "leading-byte-order-mark", "\ufeff" + happy
    yield "extra-empty", line("extra aGVsbG8=", "extra ")
    yield "extra-without-value", line("extra aGVsbG8=", "extra")
    yield "extra-stray-bits", line("extra aGVsbG8=", "extra aGVsbG9=")
    yield "extra-unpadded", line("extra aGVsbG8=", "extra aGVsbG8")
    yield "extra-not-base64", line("extra aGVsbG8=", "extra hello!!!")
    yield "extra-twice", line("extra aGVsbG8=\n", "extra aGVsbG8=\nextra aGVsbG8=\n")
    yield "extra-after-the-index", line("extra aGVsbG8=\nindex 1\n", "index 1\nextra aGVsbG8=\n")
    yield "unknown-line", line("index 1\n", "time 1\nindex 1\n")
    yield "path-stray-bits", line(first, first[:-2] + "x=")
    yield "path-unpadded", line(first, first.rstrip("="))
    yield "path-url-alphabet", line("WX/L", "WX_L")
    yield "path-trailing-space", line(first, first + " ")
    yield "path-on-one-line", line(f"{first}\n", first)
    yield "path-in-hexadecimal", line(first, path[0].hex())
    yield "blank-line-missing", line(f"{oracle.b64(path[1])}\n\n", f"{oracle.b64(path[1])}\n")
    yield "blank-line-twice", line(f"{oracle.b64(path[1])}\n\n", f"{oracle.b64(path[1])}\n\n\n")
    yield "checkpoint-missing", happy[: happy.index("\n\n") + 2]
    yield "carriage-returns", happy.replace("\n", "\r\n")
    yield "nul", line("index 1\n", "index 1\0\n")
    yield "not-utf-8", happy.encode().replace(b"index 1\n", b"index 1\xff\n")
    yield "empty", ""
