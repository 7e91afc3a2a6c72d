"""The offline verifier: `python -m schemas.verify FILE [--vkey KEY] [--origin NAME] [--entry FILE]`.

Needs Python, cryptography and orjson; opens no connection. Prints every step and the verdict.
Exit status: 0 verified, 1 not verified, 2 the arguments or the files cannot be read.
"""

import argparse
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from schemas.bundle import Step, verify_bare_proof, verify_bundle
from schemas.errors import ProofError


def verify_file(
    path: Path, vkey: str | None = None, *, origin: str | None = None, entry: bytes | None = None
) -> list[Step]:
    """Verify one file; a proof that does not verify ends in a step with the outcome "failed".

    `entry` is for a tlog-proof that does not hold its own entry, and then `vkey` is needed. Raises OSError when the
    file cannot be read, and ValueError when `entry` comes without `vkey`.
    """
    raw = path.read_bytes()
    if entry is not None and vkey is None:
        raise ValueError("an entry from elsewhere needs the log's verifier key: give --vkey")
    steps: list[Step] = []
    # A failed step is the last of the list, and says what the error says.
    with suppress(ProofError):
        if entry is not None and vkey is not None:
            verify_bare_proof(raw, entry, vkey=vkey, origin=origin, done=steps.append)
        else:
            verify_bundle(raw, vkey=vkey, origin=origin, done=steps.append)
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


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m schemas.verify", description="Verify a proof of consent offline.")
    parser.add_argument("file", type=Path, metavar="FILE", help="a proof as JSON or .tlog-proof")
    parser.add_argument("--vkey", metavar="KEY", help="the log's verifier key, from a source other than the proof")
    parser.add_argument("--origin", metavar="NAME", help="the origin of the log you expect")
    parser.add_argument("--entry", type=Path, metavar="FILE", help="the entry, for a tlog-proof that does not hold it")
    options = parser.parse_args(arguments)
    try:
        entry = None if options.entry is None else options.entry.read_bytes()
        steps = verify_file(options.file, options.vkey, origin=options.origin, entry=entry)
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
