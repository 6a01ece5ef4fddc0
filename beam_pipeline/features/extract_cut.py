"""Cuts a big extract to the neighbourhood of the cells, so that only this is read closely.

Kept are the nodes in the neighbourhood, the ways with one of them, and the multipolygons and boundaries with one of
these ways, all whole. osmium-tool does it where it is installed, else pyosmium, with the same result for what is drawn.
"""

import contextlib
import functools
import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import osmium
import shapely

from beam_pipeline.cells.cell import ChipWindow
from beam_pipeline.labels.area_relations import AREA_RELATIONS
from beam_pipeline.labels.chip_boxes import Bounds, lonlat_boxes
from beam_pipeline.labels.extract import bears_locations, libosmium_fault
from beam_pipeline.runtime.child_process import ChildEnded, end_with_parent
from beam_pipeline.runtime.whole_files import write_whole

CUT_FROM_BYTES = 256 << 20
"""A smaller extract is read whole: to cut it would save some seconds at most."""

MOST_OF_BOUNDS = 0.5
"""Where the neighbourhood takes more of an extract's bounds, cutting it takes longer than it saves."""

GROWN_DEGREES = 0.3
"""Degrees of latitude that the neighbourhood reaches beyond a tile's cells, and as many kilometres of longitude.

An object is found by its nodes. So a forest that holds cells is missed if all of its shore is farther away: 33 km. """

_MOST_STRETCH = 20.0  # degrees of longitude a degree of latitude, as at 87 degrees north
_TYPES = ",".join(sorted(AREA_RELATIONS))
_MOST_SAID = 500  # characters
_TOOL_FAILED = 1  # osmium-tool's exit code for files and memory; 2 is for its command line
_NO_MEMORY = "Out of memory"
_NODES_AT_ONCE = 1 << 16
_A_DEGREE = 1e7  # in libosmium's units


def neighbourhood(cells: Mapping[str, Mapping[int, ChipWindow]]) -> shapely.Geometry:
    """Returns the area around cells that decides what of an extract is kept.

    Args:
        cells: Tile -> cell id -> chip.

    Returns:
        A polygon or several, in degrees, within the world: a box around the cells of each tile, grown by
        `GROWN_DEGREES`; one at the antimeridian lies on both of its sides.
    """
    chips = [list(of_tile.values()) for of_tile in cells.values() if of_tile]
    if not chips:
        return shapely.MultiPolygon()
    starts = np.cumsum([0, *map(len, chips)])[:-1]
    boxes = lonlat_boxes([chip for of_tile in chips for chip in of_tile], 0.0)  # (C, 4)
    # Chips of one tile at the antimeridian may lie on either side of it: they are brought to one.
    first = np.repeat(boxes[starts, 0], np.diff([*starts, len(boxes)]))
    boxes[:, (0, 2)] -= 360.0 * np.round((boxes[:, 0] - first) / 360.0)[:, None]
    low = np.minimum.reduceat(boxes[:, :2], starts)  # (T, 2)
    high = np.maximum.reduceat(boxes[:, 2:], starts)
    farthest = np.radians(np.maximum(np.abs(low[:, 1]), np.abs(high[:, 1])) + GROWN_DEGREES)
    stretch = np.minimum(1.0 / np.maximum(np.cos(farthest), 1e-9), _MOST_STRETCH)
    margin = GROWN_DEGREES * np.stack([stretch, np.ones_like(stretch)], axis=1)
    low, high = low - margin, high + margin
    turned = [
        shapely.box(low[:, 0] + turn, low[:, 1], high[:, 0] + turn, high[:, 1]) for turn in (-360, 0, 360)
    ]
    world = shapely.box(-180.0, -90.0, 180.0, 90.0)
    area = shapely.intersection(shapely.union_all(np.concatenate(turned)), world)
    assert isinstance(area, shapely.Geometry)
    return area


def is_worth_a_cut(path: str | os.PathLike[str], bounds: Bounds | None, area: shapely.Geometry) -> bool:
    """Tells whether to read an extract is quicker if it is cut first.

    The answer follows from the extract and the cells alone, so that it is the same on every machine.

    Args:
        path: The extract, local.
        bounds: As its header has them; None for the whole world.
        area: As `neighbourhood`.
    """
    if os.path.getsize(path) < CUT_FROM_BYTES:
        return False
    whole = shapely.box(*(bounds or (-180.0, -90.0, 180.0, 90.0)))
    if shapely.area(shapely.intersection(whole, area)) > MOST_OF_BOUNDS * shapely.area(whole):
        return False
    # Nodes without a tag are not in such a file: its ways could not be found by them.
    return not bears_locations(osmium.io.File(str(path), "pbf"))


@contextlib.contextmanager
def cut_extract(path: str | os.PathLike[str], area: shapely.Geometry, folder: Path) -> Iterator[Path]:
    """Writes what lies in an area to a file without a name, which is gone with this process, however that ends.

    Args:
        path: A local `.osm.pbf` file that `check_blocks` has looked through.
        area: As `neighbourhood`.
        folder: Where to; it takes some small files too, and is the caller's to remove.

    Yields:
        A link to the new file, of the extract's name; for this process only.

    Raises:
        Fault: The file cannot be read, or the new one cannot be written, as `libosmium_fault` says.
        MemoryError: Memory ran out.
        ChildEnded: osmium-tool crashed, or does not know what it is asked for.
    """
    tool = shutil.which("osmium")
    name = Path(path).name
    with tempfile.TemporaryFile(dir=folder) as file:
        target = f"/dev/fd/{file.fileno()}"
        try:
            if tool is None:
                _cut_with_pyosmium(path, area, target)
            else:
                _cut_with_tool(tool, path, area, file.fileno(), folder / "area.geojson")
        except RuntimeError as error:
            raise libosmium_fault(name, error) from error
        link = folder / name
        link.symlink_to(target)
        yield link


def _cut_with_tool(
    tool: str, path: str | os.PathLike[str], area: shapely.Geometry, target: int, polygon: Path
) -> None:
    # One multipolygon: for each polygon that was given apart, osmium-tool would keep sets of ids of its own.
    feature = {"type": "Feature", "properties": {}, "geometry": shapely.geometry.mapping(_several(area))}
    write_whole(str(polygon), [json.dumps(feature).encode()])
    command = [tool, "extract", "-s", "smart", "-S", f"types={_TYPES}", "-p", str(polygon)]
    command += ["-F", "pbf", os.path.abspath(path), "-f", "pbf", "-O", "-o", f"/dev/fd/{target}"]
    done = subprocess.run(  # noqa: S603 - the file is named by an absolute path
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        pass_fds=[target],
        # The process that reads extracts has one thread, so it runs safely between fork and exec.
        preexec_fn=functools.partial(end_with_parent, os.getpid()),
        check=False,
    )
    said = done.stderr.decode(errors="replace").strip()[-_MOST_SAID:]
    if done.returncode == _TOOL_FAILED:
        raise MemoryError(said) if _NO_MEMORY in said else RuntimeError(said)
    if done.returncode:
        raise ChildEnded(done.returncode, said)


def _several(area: shapely.Geometry) -> shapely.MultiPolygon:
    return shapely.MultiPolygon([part for part in shapely.get_parts(area) if part.geom_type == "Polygon"])


def _cut_with_pyosmium(path: str | os.PathLike[str], area: shapely.Geometry, target: str) -> None:
    source = osmium.io.File(str(path), "pbf")  # whatever its name says
    inside, kept = osmium.IdTracker(), osmium.IdTracker()
    nodes = _NodesIn(area)
    with osmium.io.Reader(source, osmium.osm.NODE) as reader:
        osmium.apply(reader, nodes)
    for osm_id in nodes.ids():
        inside.add_node(osm_id)
        kept.add_node(osm_id)
    found: Any
    kinds = osmium.osm.WAY | osmium.osm.RELATION
    for found in osmium.FileProcessor(source, kinds).with_filter(inside.contains_filter()):
        if found.is_way():
            inside.add_way(found.id)
            kept.add_way(found.id)
        elif found.tags.get("type") in AREA_RELATIONS:
            kept.add_relation(found.id)
            for member in found.members:
                if member.type == "w":
                    kept.add_way(member.ref)
    kept.complete_backward_references(source)
    with osmium.SimpleWriter(osmium.io.File(target, "pbf"), overwrite=True) as writer:
        for found in osmium.FileProcessor(source).with_filter(kept.id_filter()):
            writer.add(found)


class _NodesIn:
    """Notes the nodes that lie in an area.

    Args:
        area: In degrees.
    """

    def __init__(self, area: shapely.Geometry) -> None:
        shapely.prepare(area)
        self._area = area
        self._parts: list[npt.NDArray[np.int64]] = []
        self._new: list[tuple[int, int, int]] = []

    def node(self, node: Any) -> None:
        """Looks at a node."""
        location = node.location
        self._new.append((node.id, location.x, location.y))
        if len(self._new) == _NODES_AT_ONCE:
            self._look()

    def ids(self) -> Iterator[int]:
        """Yields the ids of those that lie in it."""
        self._look()
        for part in self._parts:
            yield from part.tolist()

    def _look(self) -> None:
        nodes = np.array(self._new, np.int64).reshape(-1, 3)
        inside = shapely.intersects_xy(self._area, nodes[:, 1] / _A_DEGREE, nodes[:, 2] / _A_DEGREE)
        self._parts.append(nodes[inside, 0])
        self._new.clear()
