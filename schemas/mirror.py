"""A log as files (C2SP tlog-tiles): reading a tile where it may be partial, and verifying all of it, offline.

Invariant: `verify_mirror` returns only when every byte that the checkpoint covers was recomputed from the entries: each
bundle holds exactly its entries, each tile exactly their hashes, and the root is the signed one.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Final

from schemas.checkpoint import Checkpoint, open_checkpoint
from schemas.errors import CheckpointError, ProofError
from schemas.merkle import EMPTY_ROOT, HASH_BYTES, leaf_hash, root_of, subtree_root
from schemas.note import VerifierKey, open_note, parse_tree_head
from schemas.record import NO_PREVIOUS, read_entry
from schemas.tiles import (
    ENTRIES,
    TILE_WIDTH,
    ReadTile,
    Tile,
    decode_bundle,
    encode_bundle,
    parse_tile_path,
    tile_nodes,
    tile_width,
)

CHECKPOINT_FILE: Final = "checkpoint"
# What a log serves beside its tree; nothing in them is under the root.
KEYS_FILE: Final = "keys.json"
KEY_FILES: Final = (KEYS_FILE, "vkey")

# Path below the log's prefix -> the bytes of that file, uncompressed; None for what is not there (HTTP 404).
ReadFile = Callable[[str], bytes | None]

_MINUTE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:00Z")


def tile_reader(read: ReadFile) -> ReadTile:
    """Hash tiles out of a log's files; a partial one that is gone is cut from a wider one (tlog-tiles, Partial Tiles).

    A mirror keeps partial tiles of some sizes only, so after the full tile the one of the mirror's own checkpoint is
    tried. Nothing read here is trusted: whoever uses the hashes compares the root. Raises ProofError naming a file.
    """

    def read_tile(level: int, n: int, width: int) -> bytes:
        wanted = Tile(level, n, width)
        for wider in (width, TILE_WIDTH, tile_width(level, n, _stated_size(read))):
            content = read(Tile(level, n, wider).path()) if wider >= width else None
            if content is not None:
                return content[: width * HASH_BYTES]
        raise ProofError(f"{wanted.path()}: the file is missing: fetch it from the log, or another mirror of it")

    return read_tile


def _stated_size(read: ReadFile) -> int:
    """The size that the log's own checkpoint states, unverified; 0 without one."""
    note = read(CHECKPOINT_FILE) or b""
    try:
        return parse_tree_head(note.partition(b"\n\n")[0].decode() + "\n").size
    except (CheckpointError, UnicodeDecodeError):
        return 0


def verify_mirror(
    read: ReadFile,
    *,
    origin: str,
    vkeys: Sequence[VerifierKey],
    foreign: bool = False,
    pinned: bool = False,
    files: Iterable[str] | None = None,
) -> Checkpoint:
    """Verify a whole log from its files and return its checkpoint.

    origin, vkeys: the log's name and keys as the reader knows them; witnesses' keys may stand among them.
    foreign: the entries are not records of this format, so only their bytes are checked, not what they say.
    pinned: every signature line must be by one of `vkeys`, so that no byte of the checkpoint goes unchecked.
    files: all paths that the mirror holds. Each must then be a file of this log; a partial tile left from a smaller
    size must be the beginning of the verified one. Tiles past the checkpoint are let be: a mirror writes them before
    its next checkpoint, and until then nobody reads them.
    Raises ProofError that opens with the path of the file that does not fit.
    """
    # 1. The log has signed the checkpoint.
    with _naming(CHECKPOINT_FILE):
        note = read(CHECKPOINT_FILE)
        if note is None:
            raise ProofError("the file is missing: nothing says how large the log is")
        checkpoint = open_checkpoint(note, origin, vkeys)
        if pinned and len(open_note(note, vkeys).signatures) != note.rpartition(b"\n\n")[2].count(b"\n"):
            raise ProofError("a line is signed by a key that is not pinned: give that key too, or report the log")
    # 2. Every bundle holds its entries and nothing else, and level 0 their hashes; level by level, each tile holds the
    #    roots of the full tiles below it.
    tree = _Tree(read, checkpoint.size)
    below = tree.entries(None if foreign else _Chain(origin))
    level = 0
    while checkpoint.size >> (8 * level):
        below = tree.level(level, below)
        level += 1
    # 3. What was recomputed is what was signed.
    with _naming(CHECKPOINT_FILE):
        if tree.root() != checkpoint.root:
            raise ProofError("the root is not that of the entries: the log's key signed another tree than this one")
    # 4. No file is anything else.
    if files is not None:
        _check_names(files, read, checkpoint.size)
    return checkpoint


@contextmanager
def _naming(path: str) -> Iterator[None]:
    try:
        yield
    except ProofError as error:
        raise ProofError(f"{path}: {error}") from error


class _Tree:
    """Recomputes the tiles of one log from its entries, and compares."""

    def __init__(self, read: ReadFile, size: int) -> None:
        self._read = read
        self._size = size
        # The last tile of each level: with them alone the root can be computed.
        self._last: dict[tuple[int, int, int], bytes] = {}

    def entries(self, chain: "_Chain | None") -> Iterator[bytes]:
        """The leaf hashes, bundle by bundle; entries of this format must also chain."""
        for n in range(-(-self._size // TILE_WIDTH)):
            tile = Tile(ENTRIES, n, tile_width(0, n, self._size))
            path, content = self._content(tile)
            with _naming(path):
                entries = _first_entries(content, tile.width, path)
                leaves = [leaf_hash(entry) for entry in entries]
                if chain is not None:
                    for index, (entry, leaf) in enumerate(zip(entries, leaves, strict=True), start=n * TILE_WIDTH):
                        chain.check(entry, index, leaf)
            yield from leaves

    def level(self, level: int, hashes: Iterator[bytes]) -> Iterator[bytes]:
        """Compare one level's tiles with the hashes from below; the roots of its full tiles."""
        roots = []
        for n in range(-(-(self._size >> (8 * level)) // TILE_WIDTH)):
            tile = Tile(level, n, tile_width(level, n, self._size))
            # One tile's worth, which for level 0 is one bundle: 256 hashes are in memory, not the log.
            row = [next(hashes) for _ in range(tile.width)]
            expected = b"".join(row)
            path, content = self._content(tile)
            with _naming(path):
                wide = path == tile.path()
                if len(content) != (tile.width if wide else TILE_WIDTH) * HASH_BYTES:
                    raise ProofError("the tile has the wrong length for its width: fetch it again or report the log")
                if content[: len(expected)] != expected:
                    bundle = Tile(ENTRIES, n, tile.width).path()
                    below = f"leaf hashes of {bundle}" if level == 0 else "roots of the tiles one level below"
                    raise ProofError(f"the hashes are not the {below}: fetch both again or report the log")
            if tile.width == TILE_WIDTH:
                roots.append(root_of(row))
            self._last[level, n, tile.width] = expected
            self._last.pop((level, n - 1, TILE_WIDTH), None)
        return iter(roots)

    def root(self) -> bytes:
        if self._size == 0:
            return EMPTY_ROOT
        return subtree_root(0, self._size, tile_nodes(self._size, lambda *place: self._last[place]))

    def _content(self, tile: Tile) -> tuple[str, bytes]:
        """The tile, or the full one where a partial one was deleted after it was filled."""
        for path in (tile.path(), Tile(tile.level, tile.n).path()):
            content = self._read(path)
            if content is not None:
                return path, content
        raise ProofError(f"{tile.path()}: the file is missing, and so is the full tile: the mirror is not complete")


def _first_entries(content: bytes, width: int, path: str) -> list[bytes]:
    """The first `width` entries of a bundle that holds exactly as many as its path says."""
    return decode_bundle(content, parse_tile_path(path).width)[:width]


class _Chain:
    """What the entries of a log of ours say of themselves: which log, which place, which entry before."""

    def __init__(self, origin: str) -> None:
        self._origin = origin
        self._prev = NO_PREVIOUS
        self._minute = ""

    def check(self, entry: bytes, index: int, leaf: bytes) -> None:
        members = read_entry(entry)
        minute = members["recorded_at"]
        for fits, what in (
            (members["log"] == self._origin, "names another log"),
            (type(members["index"]) is int and members["index"] == index, "names another index"),
            (members["prev"] == self._prev, "does not name the leaf before it: the chain is broken"),
            (isinstance(minute, str) and _MINUTE.fullmatch(minute) is not None, "has no whole minute"),
            (isinstance(minute, str) and minute >= self._minute, "is recorded before the entry before it"),
        ):
            if not fits:
                raise ProofError(f"entry {index} {what}")
        self._prev, self._minute = leaf.hex(), minute


def _check_names(files: Iterable[str], read: ReadFile, size: int) -> None:
    for path in sorted(files):
        if path == CHECKPOINT_FILE or path in KEY_FILES:
            continue
        with _naming(path):
            try:
                tile = parse_tile_path(path)
            except ProofError:
                raise ProofError("a log has no such file: it proves nothing, remove it") from None
            width = tile_width(0 if tile.level == ENTRIES else tile.level, tile.n, size)
            if tile.width < width:
                _check_narrow(tile, read(path) or b"", read(Tile(tile.level, tile.n, width).path()) or b"")


def _check_narrow(tile: Tile, content: bytes, verified: bytes) -> None:
    """A partial tile of a smaller size holds the first entries or hashes of the verified one, and no byte more."""
    if tile.level == ENTRIES:
        entries = decode_bundle(content, tile.width)
        fits = verified.startswith(encode_bundle(entries))
    else:
        fits = len(content) == tile.width * HASH_BYTES and verified.startswith(content)
    if not fits:
        raise ProofError("it is not the beginning of the tile that the checkpoint covers: keep it as evidence")
