"""The offline verifier of proofs and of whole bundles; opens no connection.

    python -m schemas.verify FILE [--vkey KEY] [--policy FILE] [--roots FILE] [--jwks FILE]

FILE is a proof (JSON or .tlog-proof), a receipt or signed answer (JWS), a bundle (zip or folder). Prints every
step and the verdict. Exit status: 0 verified, 1 not verified, 2 the arguments or the files cannot be read.
"""

import argparse
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

from schemas.answers import ANSWER_TYPE, verify_answer
from schemas.archive import is_archive
from schemas.bundle import verify_bare_proof, verify_bundle
from schemas.bundle_check import Pins, verify_archive
from schemas.errors import ProofError
from schemas.log_keys import read_log_keys
from schemas.receipts_verify import read_jwks, stated_type, verify_receipt
from schemas.steps import Step

# Base64url of `{"`, as every JWS begins.
JWS_OPENING: Final = b"eyJ"


def verify_file(
    path: Path,
    vkey: str | None = None,
    *,
    origin: str | None = None,
    entry: bytes | None = None,
    pins: Pins | None = None,
) -> list[Step]:
    """Verify one file; what does not verify ends in a step with the outcome "failed".

    `entry` is for a tlog-proof that does not hold its own entry, and then `vkey` is needed; `pins` are for a bundle,
    `vkey` beside them. Raises OSError when the file cannot be read, ValueError when an argument does not go with it.
    """
    raw = None if path.is_dir() else path.read_bytes()
    steps: list[Step] = []
    if raw is None or is_archive(raw):
        if origin is not None or entry is not None:
            raise ValueError("--origin and --entry are for a single proof: this is a bundle")
        pins = pins or Pins()
        vkeys = pins.vkeys if vkey is None else (vkey, *pins.vkeys)
        return verify_whole(path if raw is None else raw, Pins(vkeys, pins.policy, pins.roots, pins.jwks))
    if raw.startswith(JWS_OPENING):
        return _verify_jws(raw, pins, vkey, origin)
    if pins is not None and pins != Pins():
        raise ValueError("--keys, --policy, --roots, --jwks and a second --vkey are for a bundle: this is one proof")
    if entry is not None and vkey is None:
        raise ValueError("an entry from elsewhere needs the log's verifier key: give --vkey")
    # A failed step is the last of the list, and says what the error says.
    with suppress(ProofError):
        if entry is not None and vkey is not None:
            verify_bare_proof(raw, entry, vkey=vkey, origin=origin, done=steps.append)
        else:
            verify_bundle(raw, vkey=vkey, origin=origin, done=steps.append)
    return steps


def _verify_jws(raw: bytes, pins: Pins | None, vkey: str | None, origin: str | None) -> list[Step]:
    if pins is None or pins.jwks is None:
        raise ValueError(
            "a receipt or answer needs the keys that sign them: give --jwks, fetched from /.well-known/jwks.json"
        )
    steps: list[Step] = []
    try:
        keys = read_jwks(pins.jwks)
    except ProofError as error:
        raise ValueError(str(error)) from None
    with suppress(ProofError):
        # Whatever is not ASCII fails as what it is, a piece that is not base64url.
        text = raw.decode("latin-1")
        # The header only says which of the two to try; that its signature holds for this type is the first step.
        verify = verify_answer if stated_type(text) == ANSWER_TYPE else verify_receipt
        verify(text, keys, vkey=vkey, origin=origin, done=steps.append)
    return steps


def verify_whole(source: bytes | Path, pins: Pins) -> list[Step]:
    """Verify a bundle's zip or folder; as `verify_file`. Raises OSError; ValueError for a pin that cannot be read."""
    steps: list[Step] = []
    try:
        verify_archive(source, pins, steps.append)
    except ProofError as error:
        if not steps or steps[-1].outcome != "failed":
            raise ValueError(str(error)) from None
    return steps


def report(steps: Sequence[Step]) -> str:
    """What a person reads: a line a step, then the verdict."""
    signs = {"ok": "ok    ", "remark": "note  ", "failed": "FAILED"}
    lines = [f"{signs[step.outcome]}  {step.number} {step.name}: {step.text}" for step in steps]
    if steps[-1].outcome == "failed":
        lines.append("NOT VERIFIED: do not rely on this proof.")
    elif any(step.outcome == "remark" for step in steps):
        lines.append("Verified, with the notes above.")
    else:
        lines.append("Verified.")
    return "\n".join(lines) + "\n"


def read_pins(
    vkeys: Sequence[str], keys: Sequence[Path], policy: Path | None, roots: Path | None, jwks: Path | None
) -> Pins:
    """The pins from the files that hold them; `keys` are `sayso-keys/v1`. Raises OSError; ValueError for bad keys."""
    try:
        chained = [str(key.vkey) for path in keys for key in read_log_keys(path.read_bytes()).keys]
    except ProofError as error:
        raise ValueError(str(error)) from None
    policy_text, roots_pem, jwk_set = (None if path is None else path.read_bytes() for path in (policy, roots, jwks))
    return Pins((*vkeys, *chained), policy_text, roots_pem, jwk_set)


def main(arguments: Sequence[str] | None = None, *, here: Path | None = None) -> int:
    """The command line; returns the exit status. Without FILE it takes the folder `here`, if there is one."""
    parser = argparse.ArgumentParser(
        prog="python -m schemas.verify" if here is None else "python verify.py",
        description="Verify a proof of consent, or a bundle of proofs, offline.",
        epilog="What you pin must come from a source other than the file itself.",
    )
    parser.add_argument(
        "file",
        type=Path,
        metavar="FILE",
        nargs=None if here is None else "?",
        default=here,
        help="a proof as JSON or .tlog-proof, a bundle as zip or folder",
    )
    parser.add_argument("--vkey", metavar="KEY", action="append", default=[], help="the log's verifier key")
    parser.add_argument(
        "--keys", type=Path, metavar="FILE", action="append", default=[], help="all keys the log ever had (bundle)"
    )
    parser.add_argument("--origin", metavar="NAME", help="the origin of the log you expect (single proof)")
    parser.add_argument("--entry", type=Path, metavar="FILE", help="the entry, for a tlog-proof that does not hold it")
    parser.add_argument("--policy", type=Path, metavar="FILE", help="the witness policy to hold it to (bundle)")
    parser.add_argument(
        "--roots", type=Path, metavar="FILE", help="root certificates of timestamp authorities (bundle)"
    )
    parser.add_argument("--jwks", type=Path, metavar="FILE", help="the keys that sign receipts (receipt, bundle)")
    options = parser.parse_args(arguments)
    try:
        entry = None if options.entry is None else options.entry.read_bytes()
        vkey = options.vkey[0] if options.vkey else None
        pins = read_pins(options.vkey[1:], options.keys, options.policy, options.roots, options.jwks)
        steps = verify_file(options.file, vkey, origin=options.origin, entry=entry, pins=pins)
    except OSError as error:
        sys.stderr.write(f"cannot read {error.filename}: {error.strerror}\n")
        return 2
    except ValueError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    sys.stdout.write(report(steps))
    return 1 if steps[-1].outcome == "failed" else 0


if __name__ == "__main__":
    sys.exit(main())
