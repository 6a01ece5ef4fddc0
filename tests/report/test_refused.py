"""Refused images that are read again, and those that are not."""

import json
from pathlib import Path

import pytest

from beam_pipeline.dataset.folder import DatasetFolder
from beam_pipeline.dataset.units import Unit
from beam_pipeline.imagery.chips import FilterSettings
from beam_pipeline.report.refused import BY_SCL, find_refused
from beam_pipeline.runtime.disk import Disk
from beam_pipeline.runtime.retries import RetryPolicy
from tests.records.builders import make_cell

UNIT = Unit("opensentinelmap-training.tfrecord-00000-of-00001", "training", "56HLH", (make_cell(1),))
SCENE = {
    **dict.fromkeys(("platform", "baseline", "generated", "datastrip_start", "boa_decision"), ""),
    "item_id": "x",
    "tile": "56HLH",
    "datetime": "2019-01-01T00:00:00.000000Z",
    "cloud_cover": None,
    "boa_add_offset": 0,
    "earlier": [],
}


@pytest.fixture(autouse=True)
def _one_try(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(RetryPolicy, "default", lambda: RetryPolicy(base_s=0.001, cap_s=0.001))


def why(folder: Path, own_network: bool = False) -> str:
    dataset = DatasetFolder(Disk(), str(folder))
    found, missing = find_refused(dataset, {BY_SCL: UNIT}, (2018, 2019), FilterSettings(), own_network)
    assert found == {}
    return missing[BY_SCL]


def write_list(folder: Path, href: str, **changes: object) -> None:
    content = {
        "tile": "56HLH",
        "year": 2019,
        "scenes": [{**SCENE, "assets": {"SCL": href}}],
        **{"refused": [], "found": 1, "duplicates": 0, "dropped_cloud": 0, "is_signed": True},
        **changes,
    }
    (folder / "scenes").mkdir(exist_ok=True)
    (folder / "scenes" / "56HLH_2019.json").write_text(json.dumps(content))


def test_without_a_list_of_scenes_that_is_said(tmp_path: Path) -> None:
    assert why(tmp_path) == "not_found: there is no scene list of tile 56HLH"


def test_a_damaged_list_is_said(tmp_path: Path) -> None:
    write_list(tmp_path, "", found="many")
    assert "found" in why(tmp_path)


def test_links_without_their_signature_are_not_tried(tmp_path: Path) -> None:
    write_list(tmp_path, "https://example.org/scl.tif", is_signed=False)
    assert "leaves out what signs its links" in why(tmp_path)


@pytest.mark.parametrize("host", ["127.0.0.1:9", "localhost:9", "10.0.0.1", "[::1]:9"])
def test_an_inner_host_is_asked_where_that_is_allowed_only(tmp_path: Path, host: str) -> None:
    write_list(tmp_path, f"http://{host}/scl.tif")
    assert "lies in an inner network: give --allow_own_network" in why(tmp_path)
    if "9" in host:  # where nothing listens
        assert "inner network" not in why(tmp_path, own_network=True)


def test_metadata_services_are_never_asked(tmp_path: Path) -> None:
    write_list(tmp_path, "http://169.254.169.254/scl.tif")
    assert "is never asked" in why(tmp_path, own_network=True)


def test_a_file_that_is_gone_is_said(tmp_path: Path) -> None:
    write_list(tmp_path, str(tmp_path / "gone.tif"))
    assert "gone.tif" in why(tmp_path) or "missing_asset" in why(tmp_path)
