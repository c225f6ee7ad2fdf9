"""Rows to Parquet, by pyarrow where it is installed."""

from __future__ import annotations

from typing import IO, TYPE_CHECKING, Any

from ..errors import InputError, MissingDependencyError

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["ParquetRows"]


class ParquetRows:
    """Writes blocks of rows as row groups; the first block tells the names and types of the columns.

    Raises:
        MissingDependencyError: if pyarrow is not installed.
    """

    def __init__(self, file: IO[bytes]) -> None:
        try:
            import pyarrow
            import pyarrow.parquet
        except ImportError:
            raise MissingDependencyError("writing Parquet needs pyarrow: pip install 'bertcpp[parquet]'") from None
        self._arrow: Any = pyarrow
        self._file = file
        self._writer: Any = None

    def write(self, rows: Sequence[dict[str, Any]]) -> None:
        """Write a row group.

        Raises:
            InputError: if the rows' fields are of other names or types than those of the first block.
        """
        if not rows:
            return
        try:
            if self._writer is None:
                table = self._arrow.Table.from_pylist(rows)
                self._writer = self._arrow.parquet.ParquetWriter(self._file, table.schema)
            else:
                schema = self._writer.schema
                if strange := {name for row in rows for name in row} - set(schema.names):
                    raise InputError(f"{sorted(strange)} are no columns of the first rows; write JSON lines instead")
                table = self._arrow.Table.from_pylist(rows, schema=schema)
            self._writer.write_table(table)
        except (self._arrow.ArrowInvalid, self._arrow.ArrowTypeError, self._arrow.ArrowNotImplementedError) as error:
            raise InputError(f"the rows fit no Parquet table ({error}); write JSON lines instead") from None

    def finish(self) -> None:
        """Write the table of contents; of no rows, an empty table."""
        if self._writer is None:
            self._writer = self._arrow.parquet.ParquetWriter(self._file, self._arrow.schema([]))
        self._writer.close()
