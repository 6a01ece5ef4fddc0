"""Overpass and an extract of the same data make the same dataset."""

import collections
import csv
import dataclasses
import functools
import json
from pathlib import Path

import numpy as np
import pytest

from beam_pipeline.build_dataset import main
from beam_pipeline.jobs.extract import asking
from beam_pipeline.labels.overpass import RETRY, objects_of_chip
from beam_pipeline.runtime.faults import TransientFault
from beam_pipeline.sample_world import SampleWorld
from beam_pipeline.verify import main as verify
from tests.labels.overpass_server import (
    NO_MEMORY,
    PARSE_ERROR,
    RATE_LIMITED,
    TIMED_OUT,
    TOO_BUSY,
    OverpassServer,
)
from tests.pipelines.conftest import Built, flags
from tests.pipelines.damage import MapAdditions


def first_cells(world: SampleWorld, number: int, folder: Path) -> list[str]:
    """The flags for the first cells of the world alone."""
    path = folder / "cells.csv"
    path.write_text("".join(world.cells_csv.read_text().splitlines(keepends=True)[: number + 1]))
    return ["--cells", str(path)]


def check_same(overpass: Built, extract: Built, number: int) -> None:
    """Compares the records with those of the extract's first cells."""
    first = sorted({cell_id for cell_id, _ in extract.records()})[:number]
    assert overpass.records() == {key: one for key, one in extract.records().items() if key[0] in first}


def test_both_sources_of_features_give_the_same_records(
    built: Built, world: SampleWorld, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cells = first_cells(world, 3, tmp_path)
    # The server's map has a scribble in the first cell, which is dropped there.
    (row, *_) = csv.DictReader((tmp_path / "cells.csv").open())
    west, south, east, north = (float(row[key]) for key in ("min_lon", "min_lat", "max_lon", "max_lat"))
    corners = np.random.default_rng(0).uniform(0.3, 0.7, (300, 2)) * (east - west, north - south) + (
        west,
        south,
    )
    added = MapAdditions()
    added.way(np.vstack([corners, corners[:1]]), {"leisure": "park"})
    added.write(world.osm_extract, tmp_path / "map.osm.pbf")
    # A busy server's answers come before the first good one. The real waits between them last for minutes.
    waited: list[float] = []
    patient = functools.partial(objects_of_chip, retry=dataclasses.replace(RETRY, sleep=waited.append))
    monkeypatch.setattr(asking, "objects_of_chip", patient)
    partial = {"version": 0.6, "elements": [], "remark": TIMED_OUT}
    with OverpassServer(tmp_path / "map.osm.pbf") as server:
        server.refusals += [
            (429, {"Retry-After": "31"}, RATE_LIMITED),
            (504, {}, TOO_BUSY),
            (200, {}, TOO_BUSY),
        ]
        server.refusals += [(200, {}, json.dumps(partial)), (200, {}, '{"elements": [{"typ')]
        more = [*cells, "--osm", "overpass", "--overpass_url", server.url]
        more += ["--overpass_cache", str(tmp_path / "cache")]
        output = tmp_path / "overpass"
        overpass = Built(output, main([*flags(world, output), *more]))
    assert overpass.code == 0
    assert overpass.dead_letters == []
    assert overpass.dataset["dropped_from_extracts"] == {"overpass": {"tangled": 1}}
    assert overpass.dataset["dropped_geometries"] == {}
    check_same(overpass, built, 3)
    assert len(server.queries) == 3 + 5
    assert (len(waited), waited[0]) == (5, 31.0)
    assert server.most_at_once == 1

    # What was answered is kept: the server is gone.
    again = tmp_path / "again"
    assert main([*flags(world, again), *more]) == 0
    assert Built(again, 0).shards == overpass.shards


def test_what_overpass_cannot_answer_is_a_dead_letter_and_can_be_mended(
    built: Built, world: SampleWorld, tmp_path: Path
) -> None:
    cells = first_cells(world, 3, tmp_path)
    output = tmp_path / "set"
    no_memory = json.dumps({"version": 0.6, "elements": [], "remark": NO_MEMORY})
    with OverpassServer(world.osm_extract) as server:
        server.refusals += [(200, {}, no_memory), (400, {}, PARSE_ERROR)]
        more = [*cells, "--osm", "overpass", "--overpass_url", server.url]
        more += ["--overpass_cache", str(tmp_path / "cache")]
        hit = Built(output, main([*flags(world, output), *more]))
        assert hit.code == 1
        reasons = collections.Counter(letter["reason"] for letter in hit.dead_letters)
        assert reasons == {"overpass_remark": len(world.years), "refused_query": len(world.years)}
        assert {letter["stage"] for letter in hit.dead_letters} == {"labels"}
        assert verify([str(output)]) == 0
        assert len(server.queries) == 3  # there is no use in asking again

        mended = Built(output, main([*flags(world, output), *more, "--retry_dead_letters"]))
        assert len(server.queries) == 5  # the third cell's answer is kept
    assert mended.code == 0
    assert mended.dead_letters == []
    check_same(mended, built, 3)


def test_an_overpass_that_is_down_costs_labels_and_says_so(
    world: SampleWorld, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def down(*_: object, **__: object) -> None:
        raise TransientFault("server_error", "504 Gateway Timeout")

    # The real back-off waits for minutes.
    monkeypatch.setattr(asking, "objects_of_chip", down)
    output = tmp_path / "set"
    code = main([*flags(world, output), "--osm", "overpass", "--overpass_url", "http://127.0.0.1:9/api"])
    assert code == 1
    letters = Built(output, code).dead_letters
    assert {(letter["stage"], letter["reason"]) for letter in letters} == {("labels", "server_error")}
