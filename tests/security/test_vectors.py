"""Files of water polygons that name other files or hosts, and what lies beside them."""

import ast
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
import shapely

import beam_pipeline
from beam_pipeline.cells.cell import ChipWindow
from beam_pipeline.labels.ontology import DEFAULT_ONTOLOGY, Ontology
from beam_pipeline.labels.water_polygons import sea_of_cells
from beam_pipeline.runtime.faults import InvalidInputError
from beam_pipeline.runtime.vector_drivers import KEPT
from tests.labels.sea_file import write_sea
from tests.security.opened_files import noted_openings

ONTOLOGY = Ontology.load(DEFAULT_ONTOLOGY.read_text())
CHIPS = {0: ChipWindow(32632, 539_460, 5_220_060)}
SEA = [shapely.box(9.0, 46.0, 10.0, 48.0)]


@pytest.fixture
def secrets(tmp_path: Path) -> Path:
    """A folder that nothing may be opened in; what is in it could be read."""
    folder = tmp_path / "secrets"
    folder.mkdir()
    for name in ("secret.gpkg", "secret.fgb", "secret.shp"):
        assert sea_of_cells(write_sea(folder / name, SEA), CHIPS, ONTOLOGY).keys() == {0}
    return folder


def leading_texts(target: Path) -> dict[str, str]:
    """Formats of GDAL's that name other files, by their driver."""
    return {
        "OGR_VRT": f'<OGRVRTDataSource><OGRVRTLayer name="secret"><SrcDataSource>{target}</SrcDataSource>'
        "</OGRVRTLayer></OGRVRTDataSource>",
        "GDALG": f'{{"type": "gdal_streamed_alg", "command_line": "gdal vector pipeline ! read {target}"}}',
        "STACTA": f'{{"type": "Feature", "assets": {{"a": {{"href": "{target}"}}}}}}',
        "GeoJSON": '{"type": "FeatureCollection", "features": [], "crs": {"type": "link", "properties": '
        f'{{"href": "file://{target}"}}}}}}',
        "a name": f"{target}\n",
        "CSV": f'id,WKT\n1,"POLYGON ((0 0, 1 0, 1 1, 0 0))"\n2,{target}\n',
    }


@pytest.mark.parametrize("ending", [".gpkg", ".fgb", ".shp", ".zip"])
def test_no_format_that_names_files_is_opened(secrets: Path, tmp_path: Path, ending: str) -> None:
    with noted_openings(secrets) as opened:
        for number, text in enumerate(leading_texts(secrets / "secret.gpkg").values()):
            path = tmp_path / f"{number}{ending}"
            path.write_text(text)
            for beside in (".shx", ".prj"):
                path.with_suffix(beside).write_text(text)
            with pytest.raises(InvalidInputError, match=r"^--water_polygons cannot be used"):
                sea_of_cells(path, CHIPS, ONTOLOGY)
    assert not opened


def test_no_table_of_a_geopackage_lies_elsewhere(secrets: Path, tmp_path: Path) -> None:
    """SQLite has virtual tables; GDAL brings one that opens any file that it knows a driver for."""
    target = secrets / "secret.fgb"
    tables = (
        f"CREATE VIRTUAL TABLE water USING VirtualOGR('{target}')",
        f"CREATE VIEW water AS SELECT 1 AS fid, ogr_geocode('{target}') AS geom",
    )
    with noted_openings(secrets) as opened:
        for number, table in enumerate(tables):
            path = write_sea(
                tmp_path / f"{number}.gpkg", SEA, layer="water", layer_options={"SPATIAL_INDEX": "NO"}
            )
            with sqlite3.connect(path) as database:
                for (name,) in database.execute(
                    "SELECT name FROM sqlite_master WHERE type = 'trigger'"
                ).fetchall():
                    database.execute(f'DROP TRIGGER "{name}"')
                database.execute("DROP TABLE water")
                database.execute("PRAGMA writable_schema = ON")
                kind = "view" if "VIEW" in table else "table"
                database.execute(
                    "INSERT INTO sqlite_master VALUES (?, 'water', 'water', 0, ?)", (kind, table)
                )
            with pytest.raises(InvalidInputError, match=r"^--water_polygons cannot be used"):
                sea_of_cells(path, CHIPS, ONTOLOGY)
    assert not opened


def test_what_lies_beside_a_file_is_not_read(tmp_path: Path) -> None:
    path = write_sea(tmp_path / "water.shp", SEA)
    expected = sea_of_cells(path, CHIPS, ONTOLOGY)
    for beside in (".qix", ".sbn", ".sbx", ".cpg", ".shp.xml", ".dbf", ".idm", ".shp.aux.xml", ".qpj"):
        path.with_suffix(beside).write_bytes(b"\0" * 200)
    with noted_openings(tmp_path) as opened:
        assert sea_of_cells(path, CHIPS, ONTOLOGY) == expected
    assert opened == {"water.shp", "water.shx", "water.prj"}


def test_a_member_of_an_archive_stays_in_it(secrets: Path, tmp_path: Path) -> None:
    import zipfile

    for number, name in enumerate((f"../secrets/{'secret.gpkg'}", str(secrets / "secret.gpkg"))):
        archive = tmp_path / f"{number}.zip"
        with zipfile.ZipFile(archive, "w") as target:
            target.writestr(name, "nothing")
        with noted_openings(secrets) as opened, pytest.raises(InvalidInputError):
            sea_of_cells(archive, CHIPS, ONTOLOGY)
        assert not opened


def test_only_drivers_that_are_needed_are_there() -> None:
    """Whichever package was imported first, and with what it opened before."""
    code = (
        "{first}; {second}; from beam_pipeline.runtime.vector_drivers import drivers_left, pyogrio; "
        "from beam_pipeline.runtime.gdal_drivers import gdal_options; "
        "print(drivers_left(), sorted(pyogrio.list_drivers()), sorted(gdal_options().__enter__().drivers()))"
    )
    found = set()
    for first, second in (
        ("import pyogrio", "import rasterio"),
        ("import beam_pipeline.runtime.gdal_drivers", "import pyogrio"),
    ):
        run = [sys.executable, "-c", code.format(first=first, second=second)]
        found.add(subprocess.run(run, capture_output=True, text=True, check=True).stdout.strip())
    (said,) = found
    assert said.startswith("[] ")
    assert all(f"'{name}'" in said for name in KEPT - {"Parquet"})
    assert all(f"'{name}'" in said for name in ("GTiff", "MEM"))
    assert "VRT" not in said
    assert "GeoJSON" not in said


def test_pyogrio_is_imported_from_one_place() -> None:
    root = Path(beam_pipeline.__file__).parent
    for path in root.rglob("*.py"):
        if path.name == "vector_drivers.py":
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            names = [it.name for it in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            assert not any(name.split(".")[0] in ("pyogrio", "geopandas", "fiona") for name in names), path
