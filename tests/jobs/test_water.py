"""The sea of a build's cells, of a file on a disk and in a bucket."""

from pathlib import Path

import pytest
import shapely

from beam_pipeline.cells.region import cells_in_region
from beam_pipeline.dataset.folder import DatasetFolder
from beam_pipeline.dataset.water_file import parse_water
from beam_pipeline.jobs.build.options import build_settings, parse_build_flags
from beam_pipeline.jobs.storage import BeamFiles
from beam_pipeline.jobs.water import find_sea
from beam_pipeline.runtime.faults import InvalidInputError
from tests.jobs.test_storage import ObjectStore
from tests.labels.sea_file import write_sea, zipped

CELLS = cells_in_region("9.50,47.10,9.60,47.20", None, 0).cells


def found_sea(path: str | Path | None, output: Path) -> tuple[object, str]:
    given = [] if path is None else ["--water_polygons", str(path)]
    settings = build_settings(*parse_build_flags(["--output", "out", "--osm", "a.osm.pbf", *given]))
    return find_sea(settings, CELLS, "units", DatasetFolder(BeamFiles(), str(output)))


def test_a_file_in_a_bucket_is_as_good_as_one_on_the_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sea = write_sea(tmp_path / "sea.shp", [shapely.box(9.0, 47.0, 9.55, 48.0)])
    archive = zipped(sea)
    objects = {f"objects://bucket/a/{path.name}": path.read_bytes() for path in tmp_path.iterdir()}
    monkeypatch.setattr(ObjectStore, "objects", objects)
    here, text = found_sea(sea, tmp_path / "set")
    cells = dict(parse_water(text))
    assert 0 < len(cells) < len(CELLS)
    assert cells.keys() <= {cell.cell_id for cell in CELLS}
    assert found_sea("objects://bucket/a/sea.shp", tmp_path / "set") == (here, text)
    assert found_sea("objects://bucket/a/sea.zip", tmp_path / "set")[1] == text
    assert found_sea(archive, tmp_path / "set")[1] == text
    del objects["objects://bucket/a/sea.prj"]
    for missing in ("sea.shp", "none.zip"):
        with pytest.raises(
            InvalidInputError, match=r"--water_polygons cannot be read: .*not_found"
        ) as caught:
            found_sea(f"objects://bucket/a/{missing}", tmp_path / "set")
        assert str(caught.value).endswith(f"Received: objects://bucket/a/{missing}")


def test_cells_without_sea_are_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    sea = write_sea(tmp_path / "sea.fgb", [shapely.box(0.0, 0.0, 1.0, 1.0)])
    assert found_sea(sea, tmp_path / "set")[1] == ""
    assert "no cell has sea" in caplog.text


def test_without_the_flag_there_is_none(tmp_path: Path) -> None:
    assert found_sea(None, tmp_path / "set") == (None, "")
