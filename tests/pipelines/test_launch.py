"""Launches that cannot work are refused: exit code 2, an error that names the flag, and nothing written."""

import contextlib
import importlib
import json
from collections.abc import Iterator
from pathlib import Path

import osmium
import pytest
from osmium.osm.mutable import Node

from beam_pipeline.build_dataset import main
from beam_pipeline.cells.table import read_cells_csv
from beam_pipeline.jobs.build.inputs import check_reach
from beam_pipeline.jobs.build.launch import prepare_build
from beam_pipeline.jobs.build.options import build_settings, parse_build_flags
from beam_pipeline.jobs.extract import sources
from beam_pipeline.labels.extract import check_extract
from beam_pipeline.runtime.faults import InvalidInputError, TransientFault
from beam_pipeline.sample_world import SampleWorld
from tests.pipelines.conftest import Built, build, flags

ON_DATAFLOW = [
    "--runner=DataflowRunner",
    "--project=fake-project",
    "--region=europe-west1",
    "--no_auth",
    "--dry_run=True",
]
ON_DATAFLOW += ["--temp_location=gs://fake-bucket/tmp", "--staging_location=gs://fake-bucket/staging"]

ELSEWHERE = "--runner=SparkRunner"

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
    given, options = parse_build_flags([*REMOTE, *more, *ON_DATAFLOW])
    with pytest.raises(InvalidInputError, match=message):
        check_reach(build_settings(given, options), options)
    # Workers of another runner may share a disk with the launcher.
    given, options = parse_build_flags([*REMOTE, *more, ELSEWHERE])
    check_reach(build_settings(given, options), options)
    (record,) = caplog.records
    assert more[0] in record.getMessage()
    # This machine's own see all of it.
    given, options = parse_build_flags([*REMOTE, *more])
    check_reach(build_settings(given, options), options)
    assert len(caplog.records) == 1


def test_remote_inputs_are_for_all(caplog: pytest.LogCaptureFixture) -> None:
    for runner in (ON_DATAFLOW, [ELSEWHERE]):
        given, options = parse_build_flags([*REMOTE, *runner])
        check_reach(build_settings(given, options), options)
    assert not caplog.records


CLOUD = ["--runner=DataflowRunner", "--sdk_container_image=a/b"]
BUILD = ["build_dataset", *REMOTE, "--area=6,49.6,6.1,49.7"]
EXTRACT = [
    "extract_features",
    "--area=6,49.6,6.1,49.7",
    "--osm=gs://b/map.osm.pbf",
    "--output=gs://b/features",
]
RELABEL = ["relabel", "--dataset=gs://b/set", "--output=gs://b/new"]
SELECT = ["select_cells", "--night_lights=gs://b/x.tif", "--land_cover=gs://b/l.tif", "--output=gs://b/cells"]
PATCHES = ["resample_patches", "--output=gs://b/set"]


BUILD_HERE = ["build_dataset", "--osm=nosuch.osm.pbf", "--output=nosuch"]
EXTRACT_HERE = ["extract_features", "--osm=nosuch.osm.pbf", "--output=nosuch"]
RELABEL_HERE = ["relabel", "--dataset=nosuch", "--output=nosuch2"]


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        ([*BUILD, *CLOUD, "--years=1990"], "--years must ascend and lie in 2015"),
        ([*BUILD, *CLOUD, "--osm=overpass"], "--osm overpass works with local runners only"),
        ([*BUILD, *CLOUD, "--output=here"], "--output lies on this machine"),
        ([*BUILD, *CLOUD, "--sample"], "--sample works where the workers are on this machine"),
        ([*BUILD, "--runner=DataflowRunner", "--dry_run"], "--sdk_container_image is missing"),
        (
            [*BUILD, "--runner=FlinkRunner", "--flink_master=elsewhere:8081"],
            "--environment_config is missing",
        ),
        ([*BUILD, "--runner=PortableRunner"], "needs --job_endpoint"),
        (
            [*BUILD, *CLOUD, "--cells=gs://b/cells.csv"],
            "one of --cells CSV, --area BBOX|GEOJSON and --sample",
        ),
        ([*BUILD_HERE, "--cells=nosuch.csv"], "--cells cannot be read"),
        ([*BUILD_HERE, "--area=nosuch.json", "--dry_run"], "--area cannot be read"),
        ([*EXTRACT, *CLOUD, "--osm=overpass"], "--osm overpass works with local runners only"),
        ([*EXTRACT, *CLOUD, "--osm_date=2019-07-01"], "--osm_date goes with --osm overpass"),
        ([*EXTRACT, *CLOUD, "--cells=gs://b/cells.csv"], "one of --cells CSV and --area BBOX|GEOJSON"),
        ([*EXTRACT, *CLOUD, "--output=here", "--dry_run"], "--output lies on this machine"),
        ([*EXTRACT, *CLOUD, "--osm=here.osm.pbf"], "--osm lies on this machine"),
        ([*EXTRACT, "--runner=DataflowRunner", "--dry_run"], "--sdk_container_image is missing"),
        ([*EXTRACT, "--runner=PortableRunner"], "needs --job_endpoint"),
        ([*EXTRACT_HERE, "--cells=nosuch.csv"], "--cells cannot be read"),
        ([*EXTRACT_HERE, "--area=1,2,3", "--dry_run"], "A bounding box is min_lon"),
        ([*EXTRACT_HERE, "--area=6,49.6,6.1,49.7", "--ontology=nosuch.json"], "--ontology cannot be read"),
        ([*EXTRACT_HERE, "--area=6,49.6,6.1,49.7"], "--osm matches no file"),
        ([*EXTRACT_HERE, "--area=6,49.6,6.1,49.7", "--extracts_at_once=0"], "--extracts_at_once must lie in"),
        ([*RELABEL, *CLOUD, "--dataset=here"], "--dataset lies on this machine"),
        ([*RELABEL, *CLOUD, "--osm=here", "--dry_run"], "--osm lies on this machine"),
        ([*RELABEL, "--runner=DataflowRunner"], "--sdk_container_image is missing"),
        ([*RELABEL, "--runner=PortableRunner", "--dry_run"], "needs --job_endpoint"),
        ([*RELABEL_HERE, "--ontology=nosuch.json"], "--ontology cannot be read"),
        ([*RELABEL_HERE], "--dataset is no dataset"),
        ([*SELECT, *CLOUD, "--area=1,2,3"], "A bounding box is min_lon"),
        ([*SELECT, *CLOUD, "--night_lights=gs://b/x.tif.gz"], "--expanded_dir is missing"),
        ([*SELECT, *CLOUD, "--land_cover=l.tif", "--dry_run"], "--land_cover lies on this machine"),
        ([*SELECT, "--runner=DataflowRunner"], "--sdk_container_image is missing"),
        # Only the launcher reads lists of places, so they may lie here; but there they must be.
        ([*PATCHES, *CLOUD], "--places is missing"),
        ([*PATCHES, *CLOUD, "--places=nosuch.csv"], "--places cannot be read"),
        (
            [*PATCHES, *CLOUD, "--eurosat=nosuch", "--dry_run"],
            "--eurosat: it must be a folder on this machine",
        ),
        ([*PATCHES, *CLOUD, "--fmow=gs://b/groundtruth"], "--fmow: it must be a folder on this machine"),
        ([*PATCHES, *CLOUD, "--eurosat=.", "--output=here"], "--output lies on this machine"),
        ([*PATCHES, *CLOUD, "--fmow=.", "--stac_url=here.json"], "--stac_url lies on this machine"),
        ([*PATCHES, *CLOUD, "--fmow=.", "--processes=2"], "--processes is for a run without --runner"),
        ([*PATCHES, "--runner=DataflowRunner", "--fmow=."], "--sdk_container_image is missing"),
        ([*PATCHES, "--runner=PortableRunner", "--fmow=."], "needs --job_endpoint"),
        (["verify", "here", *CLOUD], "The dataset lies on this machine"),
        (["verify", "gs://b/set", "--runner=PortableRunner"], "needs --job_endpoint"),
    ],
)
def test_flags_and_files_are_checked_before_beam_asks_any_bucket(
    argv: list[str], message: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def make_pipeline(_: object) -> None:
        raise AssertionError("Beam was asked")

    for room in (
        "build.run",
        "extract.run",
        "patches.run",
        "relabel.run",
        "select.run",
        "verify.run",
        "plan.dry_run",
    ):
        monkeypatch.setattr(f"beam_pipeline.jobs.{room}.make_pipeline", make_pipeline)
    entry = importlib.import_module(f"beam_pipeline.{argv[0]}")
    assert entry.main(argv[1:]) == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize("runner", ["DataflowRunner", "dataflow"])
def test_a_local_build_never_reaches_dataflow(
    world: SampleWorld, tmp_path: Path, capsys: pytest.CaptureFixture[str], runner: str
) -> None:
    assert main([*flags(world, tmp_path / "set"), *ON_DATAFLOW, f"--runner={runner}"]) == 2
    assert "--output lies on this machine" in capsys.readouterr().err
    assert not (tmp_path / "set").exists()


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--output", "{tmp}/file"], "--output cannot be used"),
        (["--output", "{tmp}/file/set"], "--output cannot be used"),
        (["--output", "/proc/nope"], "--output cannot be used"),
        (["--output", "nosuch://bucket/set"], "--output cannot be used"),
        (["--cells", "{tmp}"], "--cells cannot be read"),
        (["--cells", "{tmp}/latin1.csv"], "--cells cannot be read"),
        (["--ontology", "{tmp}"], "--ontology cannot be read"),
        (
            ["--runner=Nope"],
            "--runner names no runner that Beam knows. Give one of BundleBasedDirectRunner, DataflowRunner, ",
        ),
        (["--runner=no.such.Runner"], "--runner=no.such.Runner"),
        (["--runner=os.getcwd"], "--runner=os.getcwd"),
        (["--runner=PortableRunner"], "--job_endpoint"),
        ([*REMOTE, "--runner=DataflowRunner"], "--sdk_container_image is missing"),
        (
            [
                *REMOTE,
                "--runner=DataflowRunner",
                "--sdk_container_image=a/b",
                "--region=europe-west1",
                "--no_auth",
            ],
            "temp_location",
        ),
        (["--seed", "1" * 65], "--seed must lie in"),
        (["--max_min_reflectance", "nan"], "--max_min_reflectance must lie in 0 to 10. Received: nan"),
        (["--max_min_reflectance", "inf"], "--max_min_reflectance must lie in 0 to 10. Received: inf"),
        (["--max_bad_fraction", "nan"], "--max_bad_fraction must lie in 0 to 1. Received: nan"),
        (["--max_scene_cloud", "nan"], "--max_scene_cloud must lie in 0 to 100. Received: nan"),
    ],
)
def test_what_cannot_be_used_is_named_before_launch(
    world: SampleWorld, tmp_path: Path, capsys: pytest.CaptureFixture[str], more: list[str], message: str
) -> None:
    (tmp_path / "file").write_text("no folder")
    (tmp_path / "latin1.csv").write_bytes("Zürich".encode("latin-1"))
    before = sorted(tmp_path.iterdir())
    more = [part.replace("{tmp}", str(tmp_path)) for part in more]
    assert main([*flags(world, tmp_path / "set"), *more]) == 2
    assert message in capsys.readouterr().err
    assert sorted(tmp_path.iterdir()) == before


def test_the_sample_needs_a_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    given = ["--sample", "--sample_cells=4", "--output", str(tmp_path / "set")]
    assert main([*given, "--sample_dir", "/proc/nope/world"]) == 2
    assert "--sample_dir cannot be written" in capsys.readouterr().err


def test_a_bucket_that_fails_is_an_input_error(
    world: SampleWorld, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """By a fault of ours, and by whatever class the bucket's client raises."""
    for error in (
        TransientFault("storage", "cannot read gs://b/map.osm.pbf: 503"),
        RuntimeError("no account"),
    ):

        @contextlib.contextmanager
        def failing(path: str, error: Exception = error) -> Iterator[str]:
            raise error
            yield path

        monkeypatch.setattr(sources, "header_copy", failing)
        assert main(flags(world, tmp_path / "set")) == 2
        message = capsys.readouterr().err
        assert "--osm cannot be read" in message
        assert str(error) in message


def extract_with_bounds(path: Path, west: float, south: float, east: float, north: float) -> Path:
    header = osmium.io.Header()
    header.add_box(osmium.osm.Box(west, south, east, north))
    with osmium.SimpleWriter(str(path), header=header) as writer:
        writer.add_node(Node(id=1, location=((west + east) / 2, (south + north) / 2)))
    return path


def test_cells_beyond_the_extracts_are_counted_once(
    built: Built, world: SampleWorld, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    assert json.loads((built.folder / "plan/launch.json").read_text()) == {"cells_beyond_extracts": 0}
    cells = read_cells_csv(world.cells_csv)
    west, east = min(cell.min_lon for cell in cells), max(cell.max_lon for cell in cells)
    south, north = min(cell.min_lat for cell in cells), max(cell.max_lat for cell in cells)
    # Two extracts at the west and at the east edge leave out what lies between them.
    third = (east - west) / 3
    left = extract_with_bounds(tmp_path / "left.osm.pbf", west - 1, south, west + third, north)
    right = extract_with_bounds(tmp_path / "right.osm.pbf", east - third, south, east + 1, north)

    def between(margin: float) -> int:
        return sum(
            west + third + margin < cell.min_lon and cell.max_lon < east - third - margin for cell in cells
        )

    argv = [*flags(world, tmp_path / "set"), "--osm", f"{left},{right}"]
    prepare_build(*parse_build_flags(argv))
    path = tmp_path / "set" / "plan" / "launch.json"
    count = json.loads(path.read_text())["cells_beyond_extracts"]
    assert 0 < between(0.002) <= count <= between(-0.002)  # a chip is not quite its cell
    assert f"{count} of {len(cells)} cells lie outside" in caplog.text
    written = path.stat().st_mtime_ns
    prepare_build(*parse_build_flags(argv))
    assert path.stat().st_mtime_ns == written

    # Nobody knows where an extract without bounds ends: osmium writes neither bounds nor time by itself.
    caplog.clear()
    with osmium.SimpleWriter(str(tmp_path / "anywhere.osm.pbf")) as writer:
        writer.add_node(Node(id=1, location=(west, south)))
    anywhere = f"{left},{tmp_path / 'anywhere.osm.pbf'}"
    prepare_build(*parse_build_flags([*flags(world, tmp_path / "other"), "--osm", anywhere]))
    launched = json.loads((tmp_path / "other" / "plan" / "launch.json").read_text())
    assert launched == {"cells_beyond_extracts": None}
    assert "1 of 2 extracts do not say in their headers where they lie: anywhere.osm.pbf" in caplog.text
    assert (
        "2 of 2 extracts do not say in their headers of when their data is: left.osm.pbf, anywhere"
        in caplog.text
    )
    planned = json.loads((tmp_path / "other" / "plan" / "fingerprint.json").read_text())["osm"]
    assert {extract["name"]: extract["timestamp"] for extract in planned} == {
        "anywhere.osm.pbf": "",
        "left.osm.pbf": "",
    }


@pytest.mark.slow
def test_an_extract_without_bounds_and_time_gives_the_same_shards(
    built: Built, world: SampleWorld, tmp_path: Path
) -> None:
    silent = tmp_path / "silent.osm.pbf"
    with osmium.SimpleWriter(str(silent)) as writer:
        for entity in osmium.FileProcessor(str(world.osm_extract)):
            writer.add(entity)
    known, unknown = check_extract(world.osm_extract), check_extract(silent)
    assert known.bounds is not None
    assert known.timestamp
    assert (unknown.bounds, unknown.timestamp) == (None, "")
    done = build(world, tmp_path / "set", "--osm", str(silent))
    assert done.code == built.code
    shards = [path for path in built.folder.glob("*.tfrecord-*") if path.is_file()]
    assert shards
    for path in shards:
        assert (done.folder / path.name).read_bytes() == path.read_bytes()


def test_an_extract_of_elsewhere_is_refused(world: SampleWorld, tmp_path: Path) -> None:
    elsewhere = extract_with_bounds(tmp_path / "elsewhere.osm.pbf", 100, 10, 101, 11)
    with pytest.raises(InvalidInputError, match=r"None of the \d+ cells lies within the bounds .*elsewhere"):
        prepare_build(*parse_build_flags([*flags(world, tmp_path / "set"), "--osm", str(elsewhere)]))
