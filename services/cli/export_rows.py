"""Reads the rows of an exported table back, as CSV, NDJSON or Parquet: what `sayso verify` checks."""

import csv
import io
from collections.abc import Iterable, Iterator, Mapping
from typing import IO, Any, Final

import orjson

from schemas.canonical import canonical_json
from schemas.errors import ConfigurationError, ProofError
from schemas.exports import COLUMNS, Row, unguarded
from schemas.note import decode_base64
from schemas.record import PART_NAMES, PartName

# Larger than a part can be, smaller than what fills a memory.
_CELL_CHARS_MAX: Final = 1 << 20
_ROWS_A_BATCH: Final = 1_000


def rows_of(kind: str, content: IO[bytes]) -> Iterator[Row]:
    """Every row of a table, in the order of the file. Raises ProofError, ConfigurationError without the extra."""
    readers = {"ndjson": _ndjson, "csv": _csv, "parquet": _parquet}
    try:
        yield from readers[kind](content)
    except (KeyError, TypeError, ValueError, AttributeError, StopIteration, csv.Error):
        raise ProofError("this row is not one of an export") from None


def _ndjson(content: IO[bytes]) -> Iterator[Row]:
    for line in content:
        value = orjson.loads(line)
        disclosed = {
            _part(name): (decode_base64(part["salt"]) or b"", canonical_json(part["json"]))
            for name, part in value["parts"].items()
        }
        digests = {_part(name): bytes.fromhex(digest) for name, digest in value["digests"].items()}
        entry = canonical_json(value["entry"])
        yield Row(value["log"], value["index"], value["subject"], entry, disclosed, digests)


def _csv(content: IO[bytes]) -> Iterator[Row]:
    csv.field_size_limit(_CELL_CHARS_MAX)
    with io.TextIOWrapper(content, encoding="utf-8", newline="") as text:
        lines = csv.reader(text, strict=True)
        if tuple(next(lines, ())) != COLUMNS:
            raise ProofError("the heading is not that of an export")
        for line in lines:
            cells = {name: unguarded(cell) or None for name, cell in zip(COLUMNS, line, strict=True)}
            yield _row({**cells, "index": int(cells["index"] or "")})


def _parquet(content: IO[bytes]) -> Iterator[Row]:
    try:
        from pyarrow import parquet
    except ImportError:
        raise ConfigurationError("to read Parquet install the extra `exports`") from None
    for batch in parquet.ParquetFile(content).iter_batches(batch_size=_ROWS_A_BATCH):
        rows: Iterable[dict[str, Any]] = batch.to_pylist()
        for cells in rows:
            yield _row(cells)


def _row(cells: Mapping[str, Any]) -> Row:
    disclosed: dict[PartName, tuple[bytes, bytes]] = {}
    digests: dict[PartName, bytes] = {}
    for name in PART_NAMES:
        if cells[name] is not None:
            disclosed[name] = decode_base64(cells[f"{name}_salt"]) or b"", cells[name].encode()
        else:
            digests[name] = bytes.fromhex(cells[f"{name}_digest"])
    return Row(cells["log"], cells["index"], cells["subject"], cells["entry"].encode(), disclosed, digests)


def _part(name: str) -> PartName:
    return next(part for part in PART_NAMES if part == name)
