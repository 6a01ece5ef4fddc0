"""The sea of water polygons, compared with points that are looked up in the unsplit sea in degrees."""

import shutil
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pyproj
import pytest
import shapely

from beam_pipeline.cells.cell import ChipWindow
from beam_pipeline.labels.feature import Feature
from beam_pipeline.labels.ontology import DEFAULT_ONTOLOGY, Ontology
from beam_pipeline.labels.rasterize import rasterize
from beam_pipeline.labels.water_polygons import SEA_TAGS, sea_of_cells
from beam_pipeline.runtime.faults import InvalidInputError
from tests.labels.sea_file import write_sea, zipped
from tests.odd_names import KEPT as ODD_NAMES

ONTOLOGY = Ontology.load(DEFAULT_ONTOLOGY.read_text())
WATER = 12
CHIP = ChipWindow(32632, 539_460, 5_220_060)  # around 9.5327, 47.1413
EAST, FAR = ChipWindow(32632, 541_380, 5_220_060), ChipWindow(32632, 570_000, 5_220_060)
LON, LAT = 9.5327, 47.1413
FIJI = ChipWindow(32701, 178_980, 10_000_000 - 60 * 31_000)
FIJI_LAT = -16.79
OVERLAP = 1e-4  # degrees, of the tiles of the split


def blob(lon: float, lat: float, radius: float, waves: int) -> Any:
    angle = np.linspace(0.0, 2 * np.pi, 240, endpoint=False)
    size = radius * (1 + 0.2 * np.sin(waves * angle))
    return shapely.Polygon(np.column_stack([lon + 1.4 * size * np.cos(angle), lat + size * np.sin(angle)]))


def sea_with_islands(lon: float, lat: float) -> Any:
    """A sea around two islands, one of which has a lagoon, with a coast in the north-east."""
    island, lagoon, rock = (
        blob(lon - 0.004, lat, 0.003, 5),
        blob(lon - 0.004, lat, 0.001, 3),
        blob(lon + 0.006, lat, 0.0012, 4),
    )
    land = shapely.union_all([island.difference(lagoon), rock, blob(lon + 0.015, lat + 0.01, 0.009, 7)])
    return shapely.box(lon - 0.8, lat - 0.8, lon + 0.8, lat + 0.8).difference(land)


def split(sea: Any, lon: float, lat: float) -> list[Any]:
    """The sea in four tiles that overlap where they meet, in the middle of the chip and across the first island."""
    west, south, east, north = sea.bounds
    tiles = [
        shapely.box(left - OVERLAP, bottom - OVERLAP, right + OVERLAP, top + OVERLAP)
        for left, right in ((west, lon - 0.004), (lon - 0.004, east))
        for bottom, top in ((south, lat), (lat, north))
    ]
    pieces = shapely.get_parts(shapely.intersection(sea, tiles))
    return [piece for piece in pieces if piece.geom_type == "Polygon"]


SEA = sea_with_islands(LON, LAT)
PIECES = split(SEA, LON, LAT)


def pixel_centres(chip: ChipWindow) -> tuple[np.ndarray, np.ndarray]:
    """(192, 192) longitudes from 0 to 360, and latitudes."""
    x = chip.left + 10 * (np.arange(192) + 0.5)
    y = chip.top - 10 * (np.arange(192) + 0.5)
    to_degrees = pyproj.Transformer.from_crs(chip.epsg, 4326, always_xy=True)
    lon, lat = to_degrees.transform(*np.meshgrid(x, y))
    return lon % 360, lat


def water_of(sea: dict[int, bytes], chip: ChipWindow, cell_id: int = 0) -> np.ndarray:
    """The label's water, (192, 192) bool."""
    features = [Feature("sea", 0, SEA_TAGS, sea[cell_id])]
    return rasterize(features, chip, ONTOLOGY, True, sea_known=True).pixels[..., 1] == WATER


def check_water(lit: np.ndarray, sea: Any, chip: ChipWindow) -> None:
    """Compares with the pixels' centres looked up in degrees; within a decimetre of the coast they fall either way."""
    lon, lat = pixel_centres(chip)
    expected = shapely.contains_xy(sea, lon, lat)
    sure = shapely.distance(shapely.points(lon, lat), shapely.boundary(sea)) > 1e-6
    assert sure.mean() > 0.99
    np.testing.assert_array_equal(lit[sure], expected[sure])
    assert 0.05 < expected.mean() < 0.95


@pytest.fixture(scope="module")
def shapefile(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_sea(tmp_path_factory.mktemp("sea") / "water.shp", PIECES)


def test_the_sea_is_that_of_the_unsplit_polygon(shapefile: Path) -> None:
    read: list[int] = []
    sea = sea_of_cells(shapefile, {0: CHIP, 1: EAST, 2: FAR}, ONTOLOGY, read.append)
    assert [*sea] == [0, 1, 2]
    assert sum(read) == len(PIECES) >= 5  # the tiles, and the lagoon, which two of them share
    check_water(water_of(sea, CHIP), SEA, CHIP)
    check_water(water_of(sea, EAST, 1), SEA, EAST)
    # A cell of which nothing is mapped, wholly at sea.
    assert water_of(sea, FAR, 2).all()
    assert len(sea[2]) < 200
    # What lies outside of the chip and reaches into it is kept too.
    around = shapely.box(*FAR.bounds).buffer(ONTOLOGY.reach_m, join_style="mitre")
    assert shapely.from_wkb(sea[2]).covers(around)


def test_each_format_and_projection_gives_the_same(shapefile: Path, tmp_path: Path) -> None:
    expected = sea_of_cells(shapefile, {0: CHIP}, ONTOLOGY)
    assert sea_of_cells(zipped(shapefile), {0: CHIP}, ONTOLOGY) == expected
    for name in ("water.gpkg", "water.fgb"):
        # In another order, and with a height.
        path = write_sea(
            tmp_path / name, [shapely.force_3d(it) for it in PIECES[::-1]], geometry_type="Polygon Z"
        )
        assert sea_of_cells(path, {0: CHIP}, ONTOLOGY) == expected
    for ending in (".shp", ".gpkg"):
        mercator = sea_of_cells(write_sea(tmp_path / f"m{ending}", PIECES, "EPSG:3857"), {0: CHIP}, ONTOLOGY)
        check_water(water_of(mercator, CHIP), SEA, CHIP)
    whole = sea_of_cells(
        write_sea(tmp_path / "whole.fgb", [SEA], geometry_type="MultiPolygon"), {0: CHIP}, ONTOLOGY
    )
    np.testing.assert_array_equal(water_of(whole, CHIP), water_of(expected, CHIP))
    multi = shapely.MultiPolygon([PIECES[0], PIECES[-1]])
    both = write_sea(tmp_path / "multi.gpkg", [*PIECES[1:-1], multi], geometry_type="Unknown")
    assert sea_of_cells(both, {0: CHIP}, ONTOLOGY) == expected


def test_the_antimeridian_is_no_border(tmp_path: Path) -> None:
    """The split ends at 180 degrees on either side; a file of others may go on beyond, or say 0 to 360."""
    whole = sea_with_islands(180.0, FIJI_LAT)  # goes on beyond 180
    west = whole.intersection(shapely.box(170, -20, 180, -10))
    east = shapely.transform(
        whole.intersection(shapely.box(180, -20, 190, -10)), lambda xy: xy - (360.0, 0.0)
    )
    assert (east.bounds[0], west.bounds[2]) == (-180.0, 180.0)
    images = []
    for name, geometries in (("split.gpkg", [west, east]), ("whole.gpkg", [whole])):
        path = write_sea(tmp_path / name, geometries, geometry_type="Unknown")
        images.append(water_of(sea_of_cells(path, {0: FIJI}, ONTOLOGY), FIJI))
        check_water(images[-1], whole, FIJI)
    np.testing.assert_array_equal(*images)


def test_land_has_no_sea(shapefile: Path) -> None:
    inland = ChipWindow(32633, 300_000, 5_000_040)
    assert sea_of_cells(shapefile, {7: inland}, ONTOLOGY) == {}
    assert sea_of_cells(shapefile, {}, ONTOLOGY) == {}


@pytest.mark.parametrize("name", [name for name in ODD_NAMES if "/" not in name and name not in (".", "..")])
def test_any_name_is_taken_as_it_is(shapefile: Path, tmp_path: Path, name: str) -> None:
    for ending in (".shx", ".prj"):
        shutil.copy(shapefile.with_suffix(ending), tmp_path / f"{name}{ending}")
    (tmp_path / f"{name}.shp").symlink_to(shapefile)
    assert sea_of_cells(tmp_path / f"{name}.shp", {0: CHIP}, ONTOLOGY).keys() == {0}


def copied(shapefile: Path, folder: Path) -> Path:
    for part in shapefile.parent.glob("water.*"):
        shutil.copy(part, folder)
    return folder / shapefile.name


def damaged(kind: str, shapefile: Path, folder: Path) -> Path:
    """A file of which something is wrong."""
    path = copied(shapefile, folder)
    content = path.read_bytes()
    lon, lat = LON, LAT
    match kind:
        case "missing":
            return folder / "none.shp"
        case "folder":
            (folder / "sea.gpkg").mkdir()
            return folder / "sea.gpkg"
        case "ending":
            return path.with_suffix(".prj")
        case "no .shx" | "no .prj":
            path.with_suffix(kind.removeprefix("no ")).unlink()
        case "cut":
            path.write_bytes(content[: len(content) // 2])
        case "cut by a little":
            path.write_bytes(content[:-20])
        case "text":
            path = folder / "water.gpkg"
            path.write_text("<html>404 Not Found</html>")
        case "empty file":
            path = folder / "water.fgb"
            path.write_bytes(b"")
        case "cut .gpkg" | "cut .fgb":
            path = write_sea(folder / f"cut{kind[4:]}", PIECES)
            path.write_bytes(path.read_bytes()[:-1000])
        case "no polygon":
            path = write_sea(folder / "none.gpkg", [])
        case "lines":
            path = write_sea(folder / "lines.gpkg", [PIECES[0].exterior], geometry_type="LineString")
        case "one far down":
            many = [PIECES[0]] * 600
            path = write_sea(folder / "many.gpkg", [*many, None])
        case "no geometry in a .fgb":
            path = write_sea(folder / "null.fgb", [PIECES[0], None], layer_options={"SPATIAL_INDEX": "NO"})
        case "a hole in the list":
            path = write_sea(folder / "null.gpkg", [PIECES[0], None])
        case "UTM":
            path = write_sea(folder / "utm.gpkg", PIECES, "EPSG:32632")
        case "metres as degrees":
            path = write_sea(folder / "metres.fgb", [shapely.box(lon, lat, lon + 1, 500_000)])
        case "no number":
            ring = [(lon, lat), (lon, np.nan), (lon + 1, lat), (lon, lat)]
            with np.errstate(invalid="ignore"):
                geometries = [PIECES[0], shapely.Polygon(ring)]
            path = write_sea(folder / "nan.fgb", geometries, layer_options={"SPATIAL_INDEX": "NO"})
        case "two layers":
            path = write_sea(folder / "two.gpkg", PIECES, layer="a")
            write_sea(path, PIECES, layer="b", append=True)
        case "empty .zip" | "two in a .zip" | "cut .zip":
            path = zipped(path)
            if kind == "cut .zip":
                path.write_bytes(path.read_bytes()[:-100])
            else:
                shutil.copy(path, folder / "more.zip")
                path = rezipped(path, 0 if kind == "empty .zip" else 2)
        case "a scribble":
            corners = np.random.default_rng(0).uniform((lon, lat), (lon + 0.01, lat + 0.01), (3000, 2))
            path = write_sea(folder / "scribble.fgb", [shapely.Polygon(corners)])
    return path


def rezipped(path: Path, times: int) -> Path:
    with zipfile.ZipFile(path) as source, zipfile.ZipFile(path.with_name("again.zip"), "w") as target:
        target.writestr("README.txt", "")
        for number in range(times):
            for name in source.namelist():
                target.writestr(f"{number}/{name}", source.read(name))
    return path.with_name("again.zip")


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("missing", "there is no such file"),
        ("folder", "it is a folder"),
        ("ending", "ends in none of .shp .gpkg .fgb .parquet .zip"),
        ("no .shx", "there is no .shx file beside it"),
        ("no .prj", "there is no .prj file beside it"),
        ("cut", r"feature \d+ is nothing and no polygon"),
        ("cut by a little", r"feature \d+ is nothing and no polygon"),
        ("text", "not recognized as being in a supported file format"),
        ("empty file", "cannot be used: "),
        ("cut .gpkg", "malformed|corrupt"),
        ("cut .fgb", "reading feature"),
        ("no polygon", "it holds no polygon"),
        ("lines", "feature 1 is a LineString and no polygon"),
        ("one far down", "feature 601 is nothing and no polygon"),
        ("no geometry in a .fgb", "cannot be used: "),
        ("a hole in the list", "feature 2 is nothing and no polygon"),
        (
            "UTM",
            r"is in WGS 84 / UTM zone 32N; EPSG:4326 and EPSG:3857 are read\. .*ogr2ogr -t_srs EPSG:4326",
        ),
        ("metres as degrees", r"feature 1 has a point that is not on Earth \(.*, 500000\)"),
        ("no number", r"feature 2 has a point that is not on Earth \(.*nan"),
        ("two layers", r"it holds 2 layers \(a, b\), and must hold one"),
        ("empty .zip", "it holds 0 files that end in"),
        ("two in a .zip", "it holds 2 files that end in"),
        ("cut .zip", "not a zip file"),
        ("a scribble", "crosses itself too often"),
    ],
)
def test_what_is_no_sea_is_refused_with_a_way_out(
    shapefile: Path, tmp_path: Path, kind: str, said: str
) -> None:
    path = damaged(kind, shapefile, tmp_path)
    with pytest.raises(InvalidInputError, match=said) as caught:
        sea_of_cells(path, {0: CHIP}, ONTOLOGY)
    message = str(caught.value)
    assert message.startswith("--water_polygons ")
    assert message.endswith(f"Received: {path}")
    assert "/tmp/tmp" not in message.removesuffix(str(path))
    assert "\n" not in message
    assert len(message) < 500 + len(str(path))
