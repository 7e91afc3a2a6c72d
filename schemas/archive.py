"""The zip of a proof bundle, written and read strictly (docs/bundle-format.md, The zip).

Only what that page names is read: two zip tools must not see two different things in one file. Invariant: every byte of
a zip that is read belongs to a header that is known in full or to the content of exactly one file.
"""

import os
import re
import stat
import struct
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from schemas.errors import ProofError

MANIFEST: Final = "manifest.json"
ARCHIVE_BYTES_MAX: Final = 64 * 1024 * 1024
FILES_MAX: Final = 4096
FILE_BYTES_MAX: Final = 16 * 1024 * 1024
CONTENT_BYTES_MAX: Final = 256 * 1024 * 1024
NAME_BYTES_MAX: Final = 200

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*(/[A-Za-z0-9][A-Za-z0-9._-]*)*")
_LOCAL: Final = struct.Struct("<4s5H3I2H")
_CENTRAL: Final = struct.Struct("<4s6H3I5H2I")
_END: Final = struct.Struct("<4s4H2IH")
_VERSION: Final = 20
_MADE_BY: Final = 0x0314  # Unix, so that the mode counts
_DATE: Final = 0x0021  # 1 January 1980: the same files make the same zip
_MODE: Final = 0o100644 << 16
_STORED: Final = 0
_DEFLATED: Final = 8


def is_archive(raw: bytes) -> bool:
    """Whether a file begins like a zip, and so is to be verified as a bundle."""
    return raw.startswith(b"PK\x03\x04")


def write_archive(files: Mapping[str, bytes]) -> bytes:
    """The zip of these files, the manifest first; the same files give the same bytes under the same zlib.

    Raises ProofError when a name or a size is beyond what `read_archive` takes.
    """
    names = _in_order(files)
    body, central = bytearray(), bytearray()
    for name in names:
        content = files[name]
        squeezer = zlib.compressobj(9, zlib.DEFLATED, -15)
        packed = squeezer.compress(content) + squeezer.flush()
        method = _DEFLATED
        if len(packed) >= len(content):
            packed, method = content, _STORED
        local, header = _headers(name, method, zlib.crc32(content), len(packed), len(content), len(body))
        body += local + packed
        central += header
    archive = bytes(body + central + _end(len(names), len(central), len(body)))
    _check_sizes(len(archive), [len(content) for content in files.values()])
    return archive


def read_archive(raw: bytes) -> dict[str, bytes]:
    """Name -> content of every file of the zip. Raises ProofError that says what is not as it must be.

    1. The end record ends the file; 2. each central header is, byte for byte, the one that its own sizes and its place
    ask for, and so is the local header; 3. names are in order; 4. only then is anything unpacked.
    """
    if len(raw) > ARCHIVE_BYTES_MAX or len(raw) < _END.size:
        raise ProofError("the file is not a proof bundle: it is larger or smaller than one can be")
    count, central_bytes, central_at = struct.unpack_from("<H2I", raw, len(raw) - 12)
    if raw[-_END.size :] != _end(count, central_bytes, central_at) or central_at + central_bytes != len(raw) - 22:
        raise ProofError("the zip does not end as a bundle's does: it was cut, joined or written by another tool")
    entries = _entries(raw, count, central_at)
    names = [name for name, *_ in entries]
    if names != _in_order(names):
        raise ProofError("the files of the zip are not in order")
    _check_sizes(len(raw), [size for *_, size in entries])
    return {name: _unpack(name, raw[at:end], method, crc, size) for name, method, crc, at, end, size in entries}


def _entries(raw: bytes, count: int, central_at: int) -> list[tuple[str, int, int, int, int, int]]:
    """name, method, CRC, begin and end of the data, size of the content, in the order of the zip."""
    entries = []
    place, at = central_at, 0
    for _ in range(count):
        if len(raw) < place + _CENTRAL.size + _END.size:
            raise ProofError("the zip lists more files than it has room for")
        fields = _CENTRAL.unpack_from(raw, place)
        method, crc, packed, size, name_bytes = fields[4], *fields[7:11]
        name = raw[place + _CENTRAL.size : place + _CENTRAL.size + name_bytes].decode("latin-1")
        _check_name(name)
        local, header = _headers(name, method, crc, packed, size, at)
        data_at = at + len(local)
        if raw[place : place + len(header)] != header or raw[at:data_at] != local or data_at + packed > central_at:
            raise ProofError("a header of the zip is not the one a bundle has: another tool wrote or changed it")
        entries.append((name, method, crc, data_at, data_at + packed, size))
        place, at = place + len(header), data_at + packed
    if at != central_at or place != len(raw) - _END.size:
        raise ProofError("the zip holds bytes that belong to no file")
    return entries


def _unpack(name: str, data: bytes, method: int, crc: int, size: int) -> bytes:
    content = data
    if method == _DEFLATED:
        inflater = zlib.decompressobj(-15)
        try:
            # One byte more than is stated, so that a longer content shows and a bomb does not go off.
            content = inflater.decompress(data, size + 1)
        except zlib.error:
            raise ProofError(f"{name} cannot be unpacked: the zip is damaged") from None
        if not inflater.eof or inflater.unused_data:
            raise ProofError(f"{name} is not as long as the zip says")
    elif method != _STORED:
        raise ProofError(f"{name} is packed in a way that a bundle does not use")
    if len(content) != size or zlib.crc32(content) != crc:
        raise ProofError(f"{name} is not what its length and checksum in the zip say: the zip is damaged")
    return content


def read_folder(folder: Path) -> tuple[dict[str, bytes], int]:
    """Name -> content of a folder into which a bundle was unpacked, and how many hidden files were left aside.

    Raises ProofError for links, for what is no plain file, for names and sizes that no bundle has; OSError.
    """
    sizes: dict[str, int] = {}
    hidden = 0
    todo = [""]
    while todo:
        below = todo.pop()
        with os.scandir(folder / below) as entries:
            for entry in entries:
                name = below + entry.name
                status = entry.stat(follow_symlinks=False)
                if entry.name.startswith("."):
                    hidden += 1
                elif stat.S_ISDIR(status.st_mode):
                    todo.append(f"{name}/")
                elif stat.S_ISREG(status.st_mode):
                    sizes[name] = status.st_size
                else:
                    raise ProofError("the folder holds a link or something else that is no plain file")
                if len(sizes) + len(todo) + hidden > 2 * FILES_MAX:
                    raise ProofError("the folder holds more files than a bundle can: name the bundle's own folder")
    _check_sizes(0, list(sizes.values()))
    return {name: (folder / name).read_bytes() for name in _in_order(sizes)}, hidden


def _in_order(names: Mapping[str, object] | list[str]) -> list[str]:
    """The manifest, then the rest by bytes. Raises ProofError for a bad name, or two that a file system may mix up."""
    for name in names:
        _check_name(name)
    if len({name.lower() for name in names}) != len(names):
        raise ProofError("two files of the bundle have the same name")
    if MANIFEST not in names:
        raise ProofError(f"there is no {MANIFEST}: this is not a proof bundle")
    return [MANIFEST, *sorted(name for name in names if name != MANIFEST)]


def _check_name(name: str) -> None:
    if len(name) > NAME_BYTES_MAX or _NAME.fullmatch(name) is None:
        raise ProofError("a file's name is not one that a bundle can hold: it is absolute, hidden, or not plain ASCII")


def _check_sizes(archive: int, contents: list[int]) -> None:
    if (
        archive > ARCHIVE_BYTES_MAX
        or len(contents) > FILES_MAX
        or max(contents, default=0) > FILE_BYTES_MAX
        or sum(contents) > CONTENT_BYTES_MAX
    ):
        raise ProofError("the bundle is larger than one may be (docs/bundle-format.md): it is not unpacked")


def _headers(name: str, method: int, crc: int, packed: int, size: int, at: int) -> tuple[bytes, bytes]:
    """The one local and the one central header that a file of these sizes, at this place, has."""
    raw = name.encode("latin-1")
    same = (method, 0, _DATE, crc, packed, size, len(raw), 0)
    local = _LOCAL.pack(b"PK\x03\x04", _VERSION, 0, *same)
    central = _CENTRAL.pack(b"PK\x01\x02", _MADE_BY, _VERSION, 0, *same, 0, 0, 0, _MODE, at)
    return local + raw, central + raw


def _end(count: int, central_bytes: int, central_at: int) -> bytes:
    return _END.pack(b"PK\x05\x06", 0, 0, count, count, central_bytes, central_at, 0)
