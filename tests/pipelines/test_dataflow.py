"""The graph translates for Dataflow, and the job holds no cell."""

import base64
import bz2
import re
import shutil
from pathlib import Path
from typing import Any

import apache_beam as beam
import pytest
from apache_beam.options.pipeline_options import SetupOptions

from beam_pipeline.audit.dataset import open_audit
from beam_pipeline.dataset.folder import DatasetFolder
from beam_pipeline.jobs.build.graph import build_graph
from beam_pipeline.jobs.build.launch import check_flags, prepare_build
from beam_pipeline.jobs.build.options import build_settings, parse_build_flags
from beam_pipeline.jobs.export.graph import build_graph as build_export_graph
from beam_pipeline.jobs.export.options import parse_export_flags
from beam_pipeline.jobs.export.run import check_export
from beam_pipeline.jobs.patches.graph import build_graph as build_patches_graph
from beam_pipeline.jobs.patches.launch import check_flags as check_patch_flags
from beam_pipeline.jobs.patches.launch import prepare_patches
from beam_pipeline.jobs.patches.options import parse_patch_flags, patch_settings
from beam_pipeline.jobs.storage import BeamFiles
from beam_pipeline.jobs.verify.options import VerifySettings, parse_verify_flags, settings_of
from beam_pipeline.jobs.verify.transforms import build_graph as build_verify_graph
from beam_pipeline.sample_world import SampleWorld
from beam_pipeline.verify import build_parser as verify_parser
from tests.pipelines.conftest import Built, flags
from tests.pipelines.patches_of_sample import patches_flags

ROOT = Path(__file__).resolve().parents[2]

DATAFLOW = [
    "--runner=DataflowRunner",
    "--project=fake-project",
    "--region=europe-west1",
    "--no_auth",
    "--temp_location=gs://fake-bucket/tmp",
    "--staging_location=gs://fake-bucket/staging",
    f"--setup_file={ROOT / 'setup.py'}",
    "--dry_run=True",
]


_PACKED = re.compile(rb"QlpoOT[A-Za-z0-9+/]+={0,2}")
"""A bzip2 file in base64."""


def told(proto: Any) -> bytes:
    """All that a job holds. Beam packs what it pickles, so nothing could be found in the job as it is."""
    job: bytes = proto.SerializeToString()
    packed = [
        bz2.BZ2Decompressor().decompress(base64.b64decode(text[: len(text) // 4 * 4]))
        for text in re.findall(_PACKED, job)
    ]
    assert packed, "Beam packs otherwise now"
    return job + b"".join(packed)


def test_the_graph_translates_for_dataflow(world: SampleWorld, tmp_path: Path) -> None:
    # The plan was made by a local launch: an offline machine cannot look at a bucket.
    prepared = prepare_build(*parse_build_flags(flags(world, tmp_path / "set")))
    given, options = parse_build_flags([*flags(world, tmp_path / "set"), *DATAFLOW])
    pipeline = beam.Pipeline(options=options)
    build_graph(pipeline, build_settings(given, options), prepared.filling)
    result = pipeline.run()
    assert options.view_as(SetupOptions).save_main_session is False
    proto = result.job.proto_pipeline
    names = {transform.unique_name for transform in proto.components.transforms.values()}
    assert {"ReadPlan", "FillStore", "FindScenes", "MakeLabels", "WriteUnits", "CloseDataset"} <= names
    a_cell = world.cells_csv.read_text().splitlines()[1].split(",")[0]
    assert str(tmp_path / "set").encode() in told(proto)
    assert a_cell.encode() not in told(proto)
    assert len(proto.SerializeToString()) < 1_000_000


def test_verifying_translates_for_dataflow(built: Built) -> None:
    folder = DatasetFolder(BeamFiles(), str(built.folder))
    _, audit = open_audit(folder)
    assert audit is not None
    argv = ["gs://fake-bucket/set", *DATAFLOW]
    given, options = parse_verify_flags(verify_parser(), argv)
    settings = settings_of(given, options, "here")
    assert settings == VerifySettings("gs://fake-bucket/set", "gs://fake-bucket/set/verification.json")
    pipeline = beam.Pipeline(options=options)
    build_verify_graph(pipeline, settings, audit.item_audit)
    proto = pipeline.run().job.proto_pipeline
    names = {transform.unique_name for transform in proto.components.transforms.values()}
    assert {"ReadUnits", "AuditUnits", "WriteReport"} <= names
    assert settings.dataset.encode() in told(proto)
    assert audit.items[0].name.encode() not in told(proto)
    assert len(proto.SerializeToString()) < 100_000


@pytest.mark.slow
def test_exporting_translates_for_dataflow(built: Built) -> None:
    given, _ = parse_export_flags([f"--dataset={built.folder}", "--format=published", "--output=out"])
    settings = check_export(given).settings
    argv = [
        "--dataset=gs://fake-bucket/set",
        "--format=published",
        "--output=gs://fake-bucket/out",
        *DATAFLOW,
    ]
    _, options = parse_export_flags(argv)
    pipeline = beam.Pipeline(options=options)
    build_export_graph(pipeline, settings)
    proto = pipeline.run().job.proto_pipeline
    names = {transform.unique_name for transform in proto.components.transforms.values()}
    assert {"ReadShardNames", "ExportShards", "CloseExport"} <= names
    assert b"gs://fake-bucket/out" in told(proto)
    assert next(iter(built.shards)).encode() not in told(proto)
    assert len(proto.SerializeToString()) < 100_000


def test_patches_translate_for_dataflow_and_their_workers_need_no_list(
    world: SampleWorld, place_table: Path, made_patches: Built, tmp_path: Path
) -> None:
    table = tmp_path / "list of places.csv"
    shutil.copy(place_table, table)
    here = patches_flags(world, tmp_path / "set", "--places", str(table))
    prepared = prepare_patches(*parse_patch_flags(here))

    given, options = parse_patch_flags([*here, *DATAFLOW])
    pipeline = beam.Pipeline(options=options)
    settings = patch_settings(given, options)
    build_patches_graph(pipeline, settings)
    proto = pipeline.run().job.proto_pipeline
    names = {transform.unique_name for transform in proto.components.transforms.values()}
    assert {"ReadPlan", "FindScenes", "WriteUnits", "CloseDataset"} <= names
    assert settings.output.encode() in told(proto)
    assert table.name.encode() not in told(proto)
    # A machine that has the plan and no list.
    table.unlink()
    with beam.Pipeline(options=parse_patch_flags(here)[1]) as local:
        build_patches_graph(local, prepared.settings)
    assert Built(tmp_path / "set", 0).shards == made_patches.shards


@pytest.mark.parametrize("given", ["--places={list}", "--eurosat={folder}", "--fmow={folder}"])
def test_a_launch_on_dataflow_takes_a_list_of_this_machine(given: str, tmp_path: Path) -> None:
    (tmp_path / "places.csv").write_text("class,lon,lat\na,6,49\n")
    flag = given.format(list=tmp_path / "places.csv", folder=tmp_path)
    argv = [flag, "--output=gs://fake-bucket/set", "--stac_url=https://stac.example/v1", *DATAFLOW]
    check_patch_flags(*parse_patch_flags(argv))


def test_a_build_of_a_whole_store_waits_for_no_tile(built: Built, world: SampleWorld) -> None:
    prepared = prepare_build(*parse_build_flags(flags(world, built.folder)))
    assert prepared.filling is None
    given, options = parse_build_flags([*flags(world, built.folder), *DATAFLOW])
    pipeline = beam.Pipeline(options=options)
    build_graph(pipeline, build_settings(given, options), prepared.filling)
    proto = pipeline.run().job.proto_pipeline
    names = {transform.unique_name for transform in proto.components.transforms.values()}
    assert not {name for name in names if "WaitForTile" in name or "FillStore" in name}
    # Nothing is grouped for the labels.
    assert not {name for name in names if name.startswith("MakeLabels") and "GroupByKey" in name}


def test_local_inputs_are_refused_on_a_cluster() -> None:
    from beam_pipeline.runtime.faults import InvalidInputError

    with pytest.raises(InvalidInputError, match="--sample works where the workers are on this machine"):
        check_flags(*parse_build_flags(["--sample", "--output", "gs://fake-bucket/set", *DATAFLOW]))
    with pytest.raises(InvalidInputError, match="local runners only"):
        check_flags(
            *parse_build_flags(
                ["--osm", "overpass", "--area=1,2,3,4", "--output", "gs://fake-bucket/set", *DATAFLOW]
            )
        )
