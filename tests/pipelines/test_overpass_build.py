"""Overpass and an extract of the same data make the same dataset."""

from pathlib import Path

from beam_pipeline.build_dataset import main
from beam_pipeline.sample_world import SampleWorld
from tests.labels.overpass_server import OverpassServer
from tests.pipelines.conftest import Built, build, flags


def test_both_sources_of_features_give_the_same_shards(world: SampleWorld, tmp_path: Path) -> None:
    cells = tmp_path / "cells.csv"
    cells.write_text("".join(world.cells_csv.read_text().splitlines(keepends=True)[:7]))
    extract = build(world, tmp_path / "extract", "--cells", str(cells))
    with OverpassServer(world.osm_extract) as server:
        more = ["--cells", str(cells), "--osm", "overpass", "--overpass_url", server.url]
        more += ["--overpass_cache", str(tmp_path / "cache")]
        output = tmp_path / "overpass"
        overpass = Built(output, main([*flags(world, output), *more]))
    assert overpass.code == 0
    assert overpass.dead_letters == []
    assert any(extract.shards.values())
    assert overpass.shards == extract.shards

    # What was answered is kept: the server is gone.
    again = tmp_path / "again"
    assert main([*flags(world, again), *more]) == 0
    assert Built(again, 0).shards == extract.shards


def test_an_overpass_that_is_down_costs_labels_and_says_so(
    world: SampleWorld, tmp_path: Path, monkeypatch
) -> None:
    from beam_pipeline import label_transforms
    from beam_pipeline.faults import TransientFault

    def down(*_: object, **__: object) -> None:
        raise TransientFault("server_error", "504 Gateway Timeout")

    # The real back-off waits for minutes.
    monkeypatch.setattr(label_transforms, "features_of_chip", down)
    output = tmp_path / "set"
    code = main([*flags(world, output), "--osm", "overpass", "--overpass_url", "http://127.0.0.1:9/api"])
    assert code == 1
    letters = Built(output, code).dead_letters
    assert {(letter["stage"], letter["reason"]) for letter in letters} == {("labels", "server_error")}
