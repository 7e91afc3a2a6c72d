"""`sayso verify --from OLD --to NEW` and `sayso verify --log PLACE`: checkpoints and whole mirrors, offline.

A mirror is a directory or the address of a log; what is fetched is trusted no more than what is read.
"""

import zlib
from collections.abc import Sequence
from http import HTTPStatus
from pathlib import Path
from typing import Final
from urllib.error import HTTPError, URLError
from urllib.parse import quote, urlsplit
from urllib.request import Request, urlopen

from schemas.consistency import open_both, origin_of, parse_consistency, verify_with_proof, verify_with_tiles
from schemas.errors import ConfigurationError, LogForked, ProofError
from schemas.log_keys import read_log_keys, trusted_keys
from schemas.mirror import KEYS_FILE, ReadFile, verify_mirror
from schemas.note import VerifierKey, encode_base64, parse_verifier_key
from services.cli.publish import STAGING_FILE

FETCH_TIMEOUT_S: Final = 30
# A full bundle of the longest entries there can be; nobody's server may fill our memory.
FILE_BYTES_MAX: Final = 256 * (2 + 65_535)


def given_keys(vkeys: Sequence[str], origin: str | None) -> tuple[str, list[VerifierKey]]:
    """Origin and keys to verify under. Raises ConfigurationError without a key, ProofError for one that is none."""
    if not vkeys:
        raise ConfigurationError("give the log's verifier key with --vkey: without it nothing says who signed")
    keys = [parse_verifier_key(vkey) for vkey in vkeys]
    return origin_of(keys) if origin is None else origin, keys


def _followed(keys: list[VerifierKey], read: ReadFile) -> list[VerifierKey]:
    """The keys given, and those of the log's keys.json that a chain of statements ties to one of them."""
    raw = read(KEYS_FILE)
    if raw is None:
        return keys
    try:
        chain = trusted_keys(read_log_keys(raw), [str(key) for key in keys])
    except ProofError as error:
        raise ProofError(f"{KEYS_FILE}: {error}") from error
    return [*keys, *sorted(chain - set(keys), key=str)]


def run_growth(
    old: Path, new: Path, *, vkeys: Sequence[str], origin: str | None, proof: Path | None, place: str | None
) -> bool:
    """Whether the log of checkpoint `new` begins with that of `old`; prints what was seen.

    Raises ConfigurationError for files that cannot be read, and without a proof or a log where one is needed.
    """
    try:
        name, keys = given_keys(vkeys, origin)
        if place is not None:
            keys = _followed(keys, reader_of(place))
        older, newer = open_both(_content(old), _content(new), origin=name, vkeys=keys)
        print(f"ok      checkpoints: both signed by {name}, sizes {older.size} and {newer.size}")
        if older.size == newer.size:
            how = "one size and one root"
        elif proof is not None:
            given = parse_consistency(_content(proof))
            verify_with_proof(older, newer, given)
            how = f"by the {len(given.path)} hashes of the proof"
        elif place is not None:
            how = f"by {verify_with_tiles(older, newer, reader_of(place))} hashes computed from the log's tiles"
        else:
            raise ConfigurationError("two sizes need the way between them: give --proof FILE or --log PLACE")
    except LogForked as error:
        print(f"FORK    {error}.")
        for path in (old, new):
            print(f"        {path}: {_head(path)}")
        print("FORKED: the log's key has signed two histories. Keep both files as they are: together they prove it.")
        return False
    except ProofError as error:
        print(f"FAILED  {error}")
        print("NOT VERIFIED: the newer checkpoint was not shown to continue the older one.")
        return False
    print(f"ok      consistency: {how}")
    print("Verified: nothing that the older checkpoint covers was changed or removed in the newer one.")
    return True


def run_mirror(place: str, *, vkeys: Sequence[str], origin: str | None, pinned: bool) -> bool:
    """Whether every file of a mirrored log is what its checkpoint covers; prints what was seen."""
    directory = None if _is_address(place) else Path(place)
    files = None if directory is None else listed(directory)
    try:
        name, keys = given_keys(vkeys, origin)
        read = reader_of(place)
        keys = keys if pinned else _followed(keys, read)
        checkpoint = verify_mirror(read, origin=name, vkeys=keys, pinned=pinned, files=files)
    except ProofError as error:
        print(f"FAILED  {error}")
        print("NOT VERIFIED: do not rely on this copy of the log.")
        return False
    print(f"ok      checkpoint: signed by {checkpoint.origin}, size {checkpoint.size}")
    print(f"ok      tree: {checkpoint.size} entries recomputed, root {encode_base64(checkpoint.root)}")
    print("Verified: every byte that the checkpoint covers.")
    return True


def listed(directory: Path) -> list[str]:
    """Every file below a mirror's directory, but what a publish is still writing. Raises ConfigurationError."""
    if not directory.is_dir():
        raise ConfigurationError(f"there is no directory {directory}: name the one that holds the file checkpoint")
    paths = [path.relative_to(directory).as_posix() for path in directory.rglob("*") if not path.is_dir()]
    return [path for path in paths if path != STAGING_FILE]


def reader_of(place: str) -> ReadFile:
    """Reads the files of a log from an address or a directory."""
    if _is_address(place):
        return lambda path: _fetch(f"{place.rstrip('/')}/{quote(path)}")
    return lambda path: _content_or_none(Path(place) / path)


def _is_address(place: str) -> bool:
    return urlsplit(place).scheme in {"http", "https"}


def _fetch(url: str) -> bytes | None:
    request = Request(url, headers={"accept-encoding": "gzip"})  # noqa: S310 - _is_address let http and https through
    try:
        with urlopen(request, timeout=FETCH_TIMEOUT_S) as response:  # noqa: S310 - as above
            content: bytes = response.read(FILE_BYTES_MAX + 1)
            squeezed = response.headers.get("content-encoding", "").lower() == "gzip"
    except HTTPError as error:
        if error.code == HTTPStatus.NOT_FOUND:
            return None
        raise ConfigurationError(f"the log's server answers {error.code}: ask again later") from None
    except URLError as error:
        raise ConfigurationError(f"the log's server does not answer ({type(error.reason).__name__})") from None
    except OSError as error:
        raise ConfigurationError(f"the log's server breaks off ({type(error).__name__}): ask again") from None
    content = _unsqueezed(content) if squeezed else content
    if len(content) > FILE_BYTES_MAX:
        raise ProofError("the log's server sent more bytes than a file of a log can have")
    return content


def _unsqueezed(content: bytes) -> bytes:
    try:
        return zlib.decompressobj(wbits=31).decompress(content, FILE_BYTES_MAX + 1)
    except zlib.error:
        raise ProofError("the log's server sent what is not gzip although it says so") from None


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ConfigurationError(f"cannot read {path}: {error.strerror}") from None


def _content_or_none(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        return None


def _head(note: Path) -> str:
    """The size and root of a checkpoint that was opened before."""
    _, size, root, *_ = _content(note).decode().split("\n")
    return f"size {size}, root {root}"
