"""What cannot work is found before launch: exit code 2, an error that names the flag, and nothing written."""

import logging
from pathlib import Path

import pytest

from beam_pipeline.build_dataset import main
from beam_pipeline.faults import InvalidInputError
from beam_pipeline.launch import check_reach
from beam_pipeline.options import build_settings, parse_flags
from beam_pipeline.sample_world import SampleWorld
from tests.pipelines.conftest import flags

ON_DATAFLOW = [
    "--runner=DataflowRunner",
    "--project=fake-project",
    "--region=europe-west1",
    "--no_auth",
    "--dry_run=True",
]
ON_DATAFLOW += ["--temp_location=gs://fake-bucket/tmp", "--staging_location=gs://fake-bucket/staging"]

REMOTE = ["--output", "gs://b/set", "--osm", "gs://b/a.osm.pbf", "--stac_url", "https://stac.example/v1"]


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--output", "out/set"], "--output lies on this machine.* Give a gs:// folder. Received: out/set"),
        (["--osm", "gs://b/a.osm.pbf,b.osm.pbf"], "--osm lies on this machine.* Received: b.osm.pbf"),
        (["--stac_url", "world/catalog.json"], "--stac_url lies on this machine.* STAC API"),
        (["--stac_url", "file:///world/catalog.json"], "--stac_url lies on this machine"),
    ],
)
def test_dataflow_needs_remote_inputs(
    caplog: pytest.LogCaptureFixture, more: list[str], message: str
) -> None:
    settings = build_settings(parse_flags([*REMOTE, *more]))
    with pytest.raises(InvalidInputError, match=message):
        check_reach(settings, dataflow=True)
    # Workers of another runner may share a disk with the launcher.
    with caplog.at_level(logging.WARNING, "beam_pipeline.launch"):
        check_reach(settings, dataflow=False)
    (record,) = caplog.records
    assert more[0] in record.getMessage()


def test_remote_inputs_are_for_all(caplog: pytest.LogCaptureFixture) -> None:
    for dataflow in (True, False):
        check_reach(build_settings(parse_flags(REMOTE)), dataflow)
    assert not caplog.records


@pytest.mark.parametrize("runner", ["DataflowRunner", "dataflow"])
def test_a_local_build_never_reaches_dataflow(
    world: SampleWorld, tmp_path: Path, capsys: pytest.CaptureFixture[str], runner: str
) -> None:
    assert main([*flags(world, tmp_path / "set"), *ON_DATAFLOW, f"--runner={runner}"]) == 2
    assert "--output lies on this machine" in capsys.readouterr().err
    assert not (tmp_path / "set").exists()
