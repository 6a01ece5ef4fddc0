import itertools
from pathlib import Path

import osmium
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from osmium.osm.mutable import Node, Relation, Way

from beam_pipeline.labels.extract import read_features
from beam_pipeline.labels.feature import Found
from beam_pipeline.labels.ontology import DEFAULT_ONTOLOGY, Ontology
from beam_pipeline.labels.pbf_checks import check_blocks
from beam_pipeline.runtime.faults import PermanentFault
from tests.labels.raw_pbf import framed, held, number, signed, varint, write_raw_pbf

ONTOLOGY = Ontology.load(DEFAULT_ONTOLOGY.read_text())
RANKS = {"node": 0, "way": 1, "relation": 2}


def made(osm_type: str, osm_id: int, **more: object) -> Node | Way | Relation:
    if osm_type == "node":
        return Node(id=osm_id, location=(9.5 + osm_id * 1e-4, 47.1), tags={"building": "house"}, **more)
    if osm_type == "way":
        return Way(id=osm_id, nodes=[1, 2], tags={"highway": "trunk"}, **more)
    return Relation(id=osm_id, members=[("w", 1, "outer")], tags={"landuse": "forest"}, **more)


def write(path: Path, objects: list[Node | Way | Relation], options: str = "") -> Path:
    with osmium.SimpleWriter(osmium.io.File(str(path), f"pbf{options}"), overwrite=True) as writer:
        for one in objects:
            {Node: writer.add_node, Way: writer.add_way, Relation: writer.add_relation}[type(one)](one)
    return path


def fault_of(path: Path) -> PermanentFault | None:
    try:
        check_blocks(path)
    except PermanentFault as fault:
        return fault
    return None


@pytest.mark.parametrize("options", ["", ",pbf_dense_nodes=false"])
@pytest.mark.parametrize("visible", [True, False])
@pytest.mark.parametrize("osm_type", ["node", "way", "relation"])
def test_an_object_in_two_versions_is_refused_and_named(
    tmp_path: Path, osm_type: str, visible: bool, options: str
) -> None:
    before = [made("node", 1), made("node", 2), made("way", 1)]
    kept = [one for one in before if RANKS[type(one).__name__.lower()] < RANKS[osm_type]]
    twice = [
        made(osm_type, 70_000_000_001, version=1),
        made(osm_type, 70_000_000_001, version=2, visible=visible),
    ]
    path = write(
        tmp_path / "a.osm.pbf", [*kept, made(osm_type, 5), *twice, made(osm_type, 70_000_000_002)], options
    )
    with pytest.raises(PermanentFault, match=f"{osm_type} 70000000001 is in it more than once") as caught:
        Found.all_of(read_features(path, ONTOLOGY))
    assert caught.value.reason == "doubled_extract"
    assert "osmium merge" in caught.value.detail
    assert "osmium sort" in caught.value.detail


@pytest.mark.parametrize("osm_type", ["node", "way", "relation"])
def test_order_is_kept_from_block_to_block(tmp_path: Path, osm_type: str) -> None:
    path = tmp_path / "a.osm.pbf"
    ids = range(1, 20_001)  # of which a block holds 8,000
    assert fault_of(write(path, [made(osm_type, osm_id) for osm_id in ids])) is None
    for osm_id, reason in ((20_000, "doubled_extract"), (7, "unsorted_extract")):
        fault = fault_of(write(path, [made(osm_type, one) for one in (*ids, osm_id)]))
        assert fault is not None
        assert (fault.reason, f"{osm_type} {osm_id} " in fault.detail) == (reason, True)


elements = st.tuples(st.sampled_from(sorted(RANKS)), st.integers(-3, 3) | st.integers(-(2**40), 2**40))


@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(elements, max_size=8), st.booleans(), st.booleans())
def test_what_is_refused_is_what_is_out_of_order(
    tmp_path: Path, objects: list[tuple[str, int]], in_order: bool, dense: bool
) -> None:
    def place(element: tuple[str, int]) -> tuple[int, bool, int]:
        osm_type, osm_id = element
        return RANKS[osm_type], osm_id > 0, abs(osm_id)

    if in_order:
        objects = sorted(objects, key=place)
    path = write(
        tmp_path / "a.osm.pbf", [made(*one) for one in objects], f",pbf_dense_nodes={str(dense).lower()}"
    )
    expected = next(
        (
            "doubled_extract" if one == other else "unsorted_extract"
            for one, other in itertools.pairwise(objects)
            if place(one) >= place(other)
        ),
        None,
    )
    fault = fault_of(path)
    assert (fault and fault.reason) == expected


def test_an_id_that_does_not_come_first_is_found(tmp_path: Path) -> None:
    path = tmp_path / "a.osm.pbf"
    write_raw_pbf(
        path, [(9.5, 47.1), (9.6, 47.1), (9.5, 47.1)], {"highway": "trunk"}, (9.0, 47.0, 10.0, 48.0)
    )
    table = held(1, held(1, b""))
    for osm_id, reason in ((2, None), (1, "doubled_extract"), (-1, "unsorted_extract")):
        way = held(8, signed(1) + signed(1)) + number(1, varint(osm_id % 2**64))
        more = framed(b"OSMData", held(1, table + held(2, held(3, way))))
        (tmp_path / "b.osm.pbf").write_bytes(path.read_bytes() + more)
        fault = fault_of(tmp_path / "b.osm.pbf")
        assert (fault and fault.reason) == reason
