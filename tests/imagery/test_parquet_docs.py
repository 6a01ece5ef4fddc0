"""The commands of docs/sources.md make a file that is a catalogue."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from pyarrow import parquet

from beam_pipeline.imagery.catalog import check_catalog, find_scenes
from beam_pipeline.imagery.catalog_settings import CatalogSettings
from tests.imagery.stac_parquet import catalogue, made
from tests.imagery.stac_server import StacServer

DOCS = Path(__file__).parents[2] / "docs" / "sources.md"
EARTH_SEARCH = "https://earth-search.aws.element84.com/v1"


def test_the_documented_commands_make_a_catalogue(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (commands,) = re.findall(r"## STAC GeoParquet\n.*?```bash\n(.*?)```", DOCS.read_text(), re.DOTALL)
    assert commands.count(EARTH_SEARCH) == 1
    items = [made(tile, f"2020-0{month}-05T10:00:00Z") for month in (8, 3) for tile in ("32TNT", "32TMT")]
    for item in items:
        item["bbox"] = [9.4, 47.0, 9.7, 47.3]  # what is searched for
    path = os.pathsep.join((str(Path(sys.executable).parent), os.environ["PATH"]))
    with StacServer(items) as server:
        subprocess.run(
            ["bash", "-euc", commands.replace(EARTH_SEARCH, server.url)],
            cwd=tmp_path,
            env={**os.environ, "PATH": path},
            check=True,
        )
        api = find_scenes(CatalogSettings(server.url, "sentinel-2-l2a"), "32TNT", 2020, 0)
    found = catalogue(str(tmp_path / "items.parquet"))
    check_catalog(found)
    assert not caplog.records
    assert find_scenes(found, "32TNT", 2020, 0) == api
    assert len(api.scenes) == 2
    rows = parquet.read_table(tmp_path / "items.parquet", columns=["grid:code", "datetime"]).to_pylist()
    assert [row["grid:code"][5:] for row in rows] == ["32TMT", "32TMT", "32TNT", "32TNT"]
    assert rows == sorted(rows, key=lambda row: (row["grid:code"], row["datetime"]))
