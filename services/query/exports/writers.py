"""How records become files: CSV, NDJSON, Parquet. Each writes to a sink, piece by piece.

Invariant: the same rows make the same bytes, so that a file which was begun again after a crash is no other.
"""

import csv
import io
from collections.abc import Sequence
from importlib import import_module
from importlib.util import find_spec
from typing import Any, Final, Protocol

from schemas.exports import COLUMNS, DataFormat, Row, guarded
from schemas.rights_errors import ExportExtraMissing
from services.query.exports.sink import Sink

# A row group is in memory as a whole, at about 2 kB a record.
_GROUP_RECORDS: Final = 5_000


class Writer(Protocol):
    """Of one file. `finish` writes what is still held, and leaves the sink open."""

    def write(self, rows: Sequence[Row]) -> None: ...

    def finish(self) -> None: ...


def make_writer(kind: DataFormat, sink: Sink) -> Writer:
    """Raises ExportExtraMissing."""
    if kind == "csv":
        return _Csv(sink)
    if kind == "ndjson":
        return _Ndjson(sink)
    check_installed(kind)
    return _Parquet(sink)


def check_installed(kind: DataFormat) -> None:
    """Raises ExportExtraMissing for a format that needs what is not installed."""
    if kind == "parquet" and find_spec("pyarrow") is None:
        raise ExportExtraMissing


class _Csv:
    """RFC 4180 with a heading; every cell in quotes and guarded against spreadsheets that calculate."""

    def __init__(self, sink: Sink) -> None:
        self._sink = sink
        self._text = io.StringIO(newline="")
        self._csv = csv.writer(self._text, quoting=csv.QUOTE_ALL, lineterminator="\r\n")
        self._csv.writerow(COLUMNS)

    def write(self, rows: Sequence[Row]) -> None:
        for row in rows:
            cells = row.columns()
            self._csv.writerow([_cell(cells.get(name)) for name in COLUMNS])
        self.finish()

    def finish(self) -> None:
        self._sink.write(self._text.getvalue().encode())
        self._text.seek(0)
        self._text.truncate()


def _cell(value: str | int | None) -> str:
    return "" if value is None else guarded(str(value))


class _Ndjson:
    def __init__(self, sink: Sink) -> None:
        self._sink = sink

    def write(self, rows: Sequence[Row]) -> None:
        self._sink.write(b"".join(row.ndjson() for row in rows))

    def finish(self) -> None:
        """Nothing is held."""


class _Parquet:
    """One row group for each 5,000 records, however they come in. The library is large: loaded where it is used."""

    def __init__(self, sink: Sink) -> None:
        self._arrow: Any = import_module("pyarrow")
        kinds = {"index": self._arrow.int64()}
        self._schema = self._arrow.schema([(name, kinds.get(name, self._arrow.string())) for name in COLUMNS])
        self._writer: Any = import_module("pyarrow.parquet").ParquetWriter(sink, self._schema, compression="zstd")
        self._held: list[dict[str, str | int | None]] = []

    def write(self, rows: Sequence[Row]) -> None:
        for row in rows:
            self._held.append(row.columns())
            if len(self._held) == _GROUP_RECORDS:
                self._write_group()

    def finish(self) -> None:
        if self._held:
            self._write_group()
        self._writer.close()

    def _write_group(self) -> None:
        self._writer.write_table(self._arrow.Table.from_pylist(self._held, schema=self._schema))
        self._held = []
