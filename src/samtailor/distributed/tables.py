"""Tables as Parquet files, which DuckDB, Arrow, Spark and pandas read."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import Any

from samtailor.distributed.extras import library
from samtailor.errors import DataError

IMAGES = "images"
"""Folder of the table of images, one row for each."""
IMAGE_COLUMNS = {
    "image": "string",
    "uri": "string",
    "height": "int32",
    "width": "int32",
    "rows": "int32",
    "empty": "int32",
    "status": "string",
    "error": "string",
    "tries": "int32",
}
_WHY = "Writing and reading Parquet files"


def encode(rows: Sequence[Mapping[str, Any]], columns: Mapping[str, str]) -> bytes:
    """Rows as the content of a Parquet file, compressed with zstd.

    Args:
        rows: column to value.
        columns: name to type of Arrow: "string", "int32", "int64", "double" or "list<float>".
    """
    arrow, parquet = library("pyarrow", why=_WHY), library("pyarrow.parquet", why=_WHY)
    schema = arrow.schema([(name, _type(arrow, kind)) for name, kind in columns.items()])
    table = arrow.Table.from_pylist([dict(row) for row in rows], schema=schema)
    stream = io.BytesIO()
    parquet.write_table(table, stream, compression="zstd")
    return stream.getvalue()


def decode(content: bytes, name: str, columns: Sequence[str] | None = None) -> list[dict[str, Any]]:
    """Rows of a Parquet file; `name` is for error messages.

    Raises:
        DataError: the file is damaged, or has no such column.
    """
    library("pyarrow", why=_WHY)
    parquet = library("pyarrow.parquet", why=_WHY)
    try:
        table = parquet.read_table(io.BytesIO(content), columns=None if columns is None else list(columns))
    except (OSError, ValueError) as error:
        raise DataError(f"{name} is damaged: {error}.") from error
    if missing := set(columns or ()) - set(table.column_names):
        raise DataError(f"{name} has no column {', '.join(sorted(missing))}.")
    return table.to_pylist()


def _type(arrow: Any, kind: str) -> Any:
    if kind == "list<float>":
        return arrow.list_(arrow.float32())
    return getattr(arrow, "float64" if kind == "double" else kind)()


__all__ = ["IMAGES", "IMAGE_COLUMNS", "decode", "encode"]
