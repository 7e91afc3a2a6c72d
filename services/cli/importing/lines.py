"""Reading an export: its lines as flat names and values, each with its number, in constant memory.

A CSV line may go over several lines of text; its number is that of the record, the first after the heading being 1.
"""

import csv
import hashlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple

import orjson

from schemas.errors import ConfigurationError

_CHUNK_BYTES: Final = 1024 * 1024
# A cell longer than any we can use; without a limit one unclosed quote reads the whole file into one cell.
_CELL_CHARS_MAX: Final = 128 * 1024


class Line(NamedTuple):
    """One record of the file. `values` is None where it cannot be read."""

    number: int
    values: Mapping[str, Any] | None


def file_hash(path: Path) -> str:
    """SHA-256 of the file in hex. Raises ConfigurationError."""
    digest = hashlib.sha256()
    try:
        with path.open("rb") as file:
            while chunk := file.read(_CHUNK_BYTES):
                digest.update(chunk)
    except OSError as error:
        raise ConfigurationError(f"{path} cannot be read ({type(error).__name__})") from None
    return digest.hexdigest()


def read_csv(path: Path, delimiter: str) -> Iterator[Line]:
    """Lines of a CSV file with a heading (RFC 4180). Raises ConfigurationError if it has none."""
    csv.field_size_limit(_CELL_CHARS_MAX)
    # A byte that is not UTF-8 spoils its own line alone: the surrogate cannot be encoded when the event is made.
    with path.open(encoding="utf-8-sig", errors="surrogateescape", newline="") as file:
        rows = csv.reader(file, delimiter=delimiter)
        heading = next(rows, None)
        if not heading or len(set(heading)) < len(heading):
            raise ConfigurationError(f"{path.name} has no heading, or names a column twice")
        number = 0
        while True:
            try:
                row = next(rows, None)
            except csv.Error:
                number += 1
                yield Line(number, None)
                continue
            if row is None:
                return
            if row:
                number += 1
                yield Line(number, dict(zip(heading, row, strict=True)) if len(row) == len(heading) else None)


def read_ndjson(path: Path) -> Iterator[Line]:
    """Lines of an NDJSON file; empty ones do not count."""
    with path.open("rb") as file:
        number = 0
        for raw in file:
            if not raw.strip():
                continue
            number += 1
            try:
                value = orjson.loads(raw)
            except orjson.JSONDecodeError:
                value = None
            yield Line(number, value if isinstance(value, dict) else None)


def cell(values: Mapping[str, Any], column: str) -> Any:
    """What stands in a column, or at a path with dots; None where there is nothing."""
    if column in values:
        return values[column]
    found: Any = values
    for step in column.split("."):
        if not isinstance(found, dict) or step not in found:
            return None
        found = found[step]
    return found
