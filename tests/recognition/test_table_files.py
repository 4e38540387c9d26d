import csv
import json
import sys

import pyarrow.parquet
import pytest

from far_keras.errors import MissingExtraError, OutputError
from far_keras.recognition.table_files import Column, check_format, write_rows

COLUMNS = (
    Column("file", "text"),
    Column("face", "integer"),
    Column("Smiling", "number"),
    Column("Smiling_decision", "boolean"),
)
ROWS = [
    ["a, b.jpg", 1, 0.25, True],
    ['ß "c".jpg', 2, 0.75, None],
    ["none.jpg", None, None, None],
]


def test_parquet_has_the_columns_types_and_nulls(tmp_path):
    write_rows(tmp_path / "t.parquet", COLUMNS, ROWS)
    table = pyarrow.parquet.read_table(tmp_path / "t.parquet")
    assert [str(field.type) for field in table.schema] == ["string", "int32", "float", "bool"]
    assert [list(row.values()) for row in table.to_pylist()] == ROWS


def test_parquet_is_written_in_parts(tmp_path, monkeypatch):
    monkeypatch.setattr("far_keras.recognition.table_files._ROW_GROUP", 2)
    write_rows(tmp_path / "t.parquet", COLUMNS, iter(ROWS))
    file = pyarrow.parquet.ParquetFile(tmp_path / "t.parquet")
    assert file.num_row_groups == 2 and file.metadata.num_rows == 3


def test_an_empty_table_has_its_columns(tmp_path):
    write_rows(tmp_path / "t.parquet", COLUMNS, [])
    write_rows(tmp_path / "t.csv", COLUMNS, [])
    assert pyarrow.parquet.read_table(tmp_path / "t.parquet").column_names == [
        column.name for column in COLUMNS
    ]
    assert (tmp_path / "t.csv").read_text().split() == ["file,face,Smiling,Smiling_decision"]


def test_json_lines_and_csv_hold_the_same(tmp_path):
    write_rows(tmp_path / "t.jsonl", COLUMNS, ROWS)
    write_rows(tmp_path / "t.csv", COLUMNS, ROWS)
    names = [column.name for column in COLUMNS]
    lines = (tmp_path / "t.jsonl").read_text(encoding="utf-8").splitlines()
    assert [json.loads(line) for line in lines] == [
        dict(zip(names, row, strict=True)) for row in ROWS
    ]
    with (tmp_path / "t.csv").open(encoding="utf-8", newline="") as file:
        cells = list(csv.reader(file))
    assert cells[1:] == [
        ["a, b.jpg", "1", "0.25", "true"],
        ['ß "c".jpg', "2", "0.75", ""],
        ["none.jpg", "", "", ""],
    ]


def test_a_failure_leaves_the_old_file(tmp_path):
    (tmp_path / "t.csv").write_text("old")

    def rows():
        yield ROWS[0]
        raise RuntimeError

    with pytest.raises(RuntimeError):
        write_rows(tmp_path / "t.csv", COLUMNS, rows())
    assert (tmp_path / "t.csv").read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["t.csv"]


def test_other_suffixes_folders_and_a_missing_extra_are_refused(tmp_path, monkeypatch):
    with pytest.raises(OutputError, match=r"t\.xlsx: expected .* \.parquet, \.jsonl, \.csv"):
        check_format(tmp_path / "t.xlsx")
    (tmp_path / "folder.csv").mkdir()
    with pytest.raises(OutputError, match="Received: a folder"):
        check_format(tmp_path / "folder.csv")
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    check_format(tmp_path / "t.jsonl")
    with pytest.raises(MissingExtraError, match=r"pip install 'far_keras\[parquet\]'"):
        check_format(tmp_path / "t.parquet")
