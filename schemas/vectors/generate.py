"""Writes the golden and the mutated vectors of the log formats: `python -m schemas.vectors.generate`.

Everything follows from fixed seeds through tests/support/oracle.py, the slow reference, so a vector never rests on the
code it tests; tests/vectors fails when a file and this script disagree. Mutated vectors are named by their mutation and
stand beside the happy path. The ML-DSA-44 files are not made here: such signatures are randomised.
"""

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from schemas.vectors.hashes import ABC, ABC_LEAVES, CT_LEAVES, consistency, inclusion
from schemas.vectors.records import parts
from schemas.vectors.texts import LOG, LOG_SEED, WITNESS, WITNESS_SEED, abc_text, checkpoints, log_signed, tlog_proofs
from tests.support import oracle

HERE: Final = Path(__file__).parent
FOLDERS: Final = ("checkpoints", "consistency", "inclusion", "parts", "tlog-proof", "witness")
NOT_GENERATED: Final = ("checkpoints/happy-path-ml-dsa-44.txt", "checkpoints/ml-dsa-44.vkey")

Json = dict[str, object]


def generate() -> dict[str, bytes]:
    """Every generated file, by its path below this folder."""
    files = {
        "keys.json": _json(keys()),
        "merkle.json": _json(merkle()),
        "tiles.json": _json(tiles()),
        "witness/add-checkpoint-2-3.txt": (f"old 2\n{oracle.b64(ABC_LEAVES[2])}\n\n{log_signed(abc_text())}").encode(),
    }
    files.update((f"inclusion/{name}.json", _json(vector)) for name, vector in inclusion())
    files.update((f"consistency/{name}.json", _json(vector)) for name, vector in consistency())
    files.update((f"parts/{name}.json", _json(vector)) for name, vector in parts())
    files.update((f"checkpoints/{name}.txt", content) for name, content in checkpoints())
    files.update((f"tlog-proof/{name}.tlog-proof", content) for name, content in tlog_proofs())
    return files


def _json(value: Json) -> bytes:
    return (json.dumps(value, indent=1) + "\n").encode()


def _hex(hashes: Sequence[bytes]) -> list[str]:
    return [value.hex() for value in hashes]


# --- keys, trees, tiles -------------------------------------------------------------------------------------


def keys() -> Json:
    """Key pairs with their ids and verifier keys."""
    described: Json = {}
    for role, name, kind, seed in (("log", LOG, 1, LOG_SEED), ("witness", WITNESS, 4, WITNESS_SEED)):
        public = oracle.public_key(seed)
        described[role] = {
            "name": name,
            "type": kind,
            "seed": seed.hex(),
            "public_key": public.hex(),
            "key_id": oracle.key_id(name, kind, public).hex(),
            "vkey": oracle.vkey(name, kind, public),
        }
    return described


def merkle() -> Json:
    """Hashes, roots, and every proof of the three-leaf and the eight-leaf tree."""
    return {
        "empty_root": oracle.EMPTY.hex(),
        "leaf_hashes": {entry: oracle.leaf(entry.encode()).hex() for entry in ("", "a", "b", "c")},
        "trees": [_tree([entry.hex() for entry in ABC]), _tree(list(CT_LEAVES))],
    }


def _tree(entries: list[str]) -> Json:
    leaves = [oracle.leaf(bytes.fromhex(entry)) for entry in entries]
    sizes = range(1, len(leaves) + 1)
    return {
        "entries": entries,
        "roots": {str(size): oracle.mth(leaves[:size]).hex() for size in sizes},
        "inclusion": {f"{i}<{n}": _hex(oracle.path(i, leaves[:n])) for n in sizes for i in range(n)},
        "consistency": {f"{m}->{n}": _hex(oracle.proof(m, leaves[:n])) for n in sizes for m in range(n + 1)},
    }


def tiles() -> Json:
    """The three-entry log in full, and lengths and digests of a 600-entry log of `{"n":i}`."""
    entries = [b'{"n":%d}' % i for i in range(600)]
    return {
        "three": {path: content.hex() for path, content in oracle.tiles(ABC)},
        "six_hundred_root": oracle.mth([oracle.leaf(entry) for entry in entries]).hex(),
        "six_hundred": {
            path: {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
            for path, content in oracle.tiles(entries)
        },
        "seventy_thousand_root": oracle.mth([oracle.leaf(b'{"n":%d}' % i) for i in range(70_000)]).hex(),
    }


def main() -> None:
    """Rewrite every generated file and remove those that are generated no more."""
    files = generate()
    for folder in FOLDERS:
        for old in (HERE / folder).glob("*"):
            if old.relative_to(HERE).as_posix() not in {*files, *NOT_GENERATED}:
                old.unlink()
    for name, content in files.items():
        path = HERE / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(content)


if __name__ == "__main__":
    main()
