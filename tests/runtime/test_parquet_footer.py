"""Footers that end the process that parses them, or would fill its memory, end in a sentence."""

import subprocess
import sys
from pathlib import Path

import pytest

from beam_pipeline.imagery.catalog import check_catalog
from beam_pipeline.runtime.faults import InvalidInputError
from beam_pipeline.runtime.parquet_footer import MAGIC, require_parsable
from tests.imagery.stac_parquet import catalogue, made, write_items

# Structs of Thrift's compact protocol; source: https://github.com/apache/parquet-format, parquet.thrift.
ROOT = b"\x48\x04root\x15\x02\x00"  # SchemaElement: name, num_children 1
COLUMN = b"\x15\x0c\x25\x00\x18\x01a\x00"  # BYTE_ARRAY, required, name
# ColumnMetaData but for its type: encodings, path, codec, number of values, sizes, offset; and its end or what follows.
CHUNK = b"\x19\x15\x00\x19\x18\x01a\x15\x00\x16\x02\x16\x40\x16\x40\x26\x08"
BYTE_ARRAY, INT32 = b"\x15\x0c", b"\x15\x02"
STATISTICS = b"\x3c\x18\x01a\x18\x01a\x00"  # max, min
HISTOGRAM = b"\x7c\x29\x26\x02\x02\x00"  # SizeStatistics whose repetition levels have one count too many


def tail(*chunks: bytes, groups: int = 1) -> bytes:
    """Returns a footer of one column and one row in each row group, whose chunks are these."""
    columns = b"\x19" + bytes([len(chunks) << 4 | 0xC]) + b"".join(chunks)
    return ended(groups, columns + b"\x16\x02\x16\x02\x00")


def ended(groups: int, group: bytes) -> bytes:
    footer = b"\x15\x02\x19\x2c" + ROOT + COLUMN + b"\x16\x02\x19" + bytes([groups << 4 | 0xC])
    footer += group * groups + b"\x00"
    return footer + len(footer).to_bytes(4, "little") + MAGIC


def chunk(metadata: bytes) -> bytes:
    """Returns a ColumnChunk of this metadata."""
    return b"\x26\x08\x1c" + metadata + b"\x00\x00"


def test_a_whole_footer_can_be_parsed() -> None:
    require_parsable(tail(chunk(BYTE_ARRAY + CHUNK + STATISTICS), groups=3))


def test_times_are_looked_at_without_pandas(tmp_path: Path) -> None:
    whole = Path(
        write_items(tmp_path / "items.parquet", [made("33TWN", "2020-05-05T10:00:00Z")])
    ).read_bytes()
    program = """
import sys
from beam_pipeline.runtime.parquet_footer import main
assert main() == 0
assert "pandas" not in sys.modules
"""
    footer = whole[-8 - int.from_bytes(whole[-8:-4], "little") :]
    done = subprocess.run([sys.executable, "-c", program], input=footer, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode()


@pytest.mark.parametrize(
    ("footer", "problem"),
    [
        (tail(chunk(BYTE_ARRAY + CHUNK + HISTOGRAM)), "it is damaged: .* ended by SIGABRT"),
        (tail(chunk(INT32 + CHUNK + STATISTICS)), "it is damaged: .* ended by SIGABRT"),
        (tail(), "row group 0 has 0 columns"),
        (tail()[:-9] + b"\xff" * 9, "."),
        # 900,000 empty columns in each of 14 row groups.
        (ended(14, b"\x19\xfc\xa0\xf7\x36" + bytes(900_000) + b"\x16\x02\x16\x02\x00"), "more than 512 MiB"),
    ],
    ids=["histogram", "type", "no column", "no footer", "tiny structs"],
)
def test_footers_that_cannot_be_parsed_end_in_a_sentence(footer: bytes, problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        require_parsable(footer)


def test_such_a_file_is_refused_at_launch(tmp_path: Path) -> None:
    path = tmp_path / "items.parquet"
    path.write_bytes(MAGIC + tail(chunk(BYTE_ARRAY + CHUNK + HISTOGRAM)))
    with pytest.raises(InvalidInputError, match=r"items\.parquet .*its footer cannot be read: it is damaged"):
        check_catalog(catalogue(str(path)))


def test_random_damage_to_the_footer_ends_no_process(tmp_path: Path) -> None:
    path = write_items(tmp_path / "items.parquet", [made("33TWN", "2020-05-05T10:00:00Z")])
    seeds = [str(seed) for seed in range(3)]
    command = [sys.executable, "-m", "tests.imagery.damaged_footers", path, *seeds]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert [line.split()[0] for line in done.stdout.splitlines()] == seeds
