"""Files beside a map, and its own tags: honoured, refused or without meaning."""

from pathlib import Path

import numpy as np
import pytest
import rasterio

from beam_pipeline.jobs.storage import BeamFiles
from beam_pipeline.maps.rasters import (
    GDAL_OPTIONS,
    inspect_land_cover,
    inspect_night_lights,
    lit_pixels,
    open_raster,
)
from beam_pipeline.maps.sidecars import MOST_BYTES, first_telling, require_silent_sidecars
from beam_pipeline.runtime.faults import InvalidInputError, TransientFault
from tests.maps.made_rasters import LAND_COVER, NIGHT_LIGHTS, window_around, write_window

INSPECT = {"lights": inspect_night_lights, "cover": inspect_land_cover}

# As QGIS leaves it; and with all else that changes nothing.
SILENT = """<PAMDataset>
  <Metadata><MDI key="DataType">Thematic</MDI></Metadata>
  <Metadata domain="xml:ESRI" format="xml"><metadata><Esri>x</Esri></metadata></Metadata>
  <PAMRasterBand band="1">
    <Description>classes</Description><UnitType>nW</UnitType>
    <NoDataValue le_hex_equiv="0000000000000000">0</NoDataValue><Offset>0</Offset><Scale>1</Scale>
    <ColorInterp>Palette</ColorInterp>
    <ColorTable><Entry c1="0" c2="0" c3="0" c4="255"/></ColorTable>
    <CategoryNames><Category>NoDataValue</Category></CategoryNames>
    <Histograms><HistItem><HistMin>0</HistMin><HistCounts>1|2</HistCounts></HistItem></Histograms>
    <GDALRasterAttributeTable><FieldDefn index="0"><Name>Value</Name></FieldDefn></GDALRasterAttributeTable>
    <Metadata><MDI key="STATISTICS_MAXIMUM">220</MDI></Metadata>
  </PAMRasterBand>
</PAMDataset>"""


def in_band(text: str) -> str:
    return f'<PAMDataset><PAMRasterBand band="1">{text}</PAMRasterBand></PAMDataset>'


TELLING = {
    in_band("<NoDataValue>7</NoDataValue>"): "NoDataValue 7",
    in_band("<NoDataValue>nonsense</NoDataValue>"): "NoDataValue",
    in_band("<Scale>0.1</Scale>"): "Scale 0.1",
    in_band("<Offset>-5</Offset>"): "Offset -5",
    in_band("<NoDataValueAsInt64>7</NoDataValueAsInt64>"): "NoDataValueAsInt64",
    in_band('<Metadata><MDI key="NODATA_VALUES">7</MDI></Metadata>'): "NODATA_VALUES",
    "<PAMDataset><SRS>EPSG:4267</SRS></PAMDataset>": "SRS",
    "<PAMDataset><GeoTransform>0, 1, 0, 0, 0, -1</GeoTransform></PAMDataset>": "GeoTransform",
    "<PAMDataset><GCPList><GCP/></GCPList></PAMDataset>": "GCPList",
    '<PAMDataset><Metadata domain="xml:ESRI"><a><GeodataXform/></a></Metadata></PAMDataset>': "GeodataXform",
    f'<PAMDataset><Subdataset name="lccs_class">{in_band("<Scale>2</Scale>")}</Subdataset></PAMDataset>': "Scale 2",
    "<VRTDataset/>": "VRTDataset",
    "<PAMDataset>": "no XML",
    "": "no XML",
    '<!DOCTYPE a [<!ENTITY b "c">]><PAMDataset/>': "a DOCTYPE",
    '<!DOCTYPE a SYSTEM "file:///etc/passwd"><PAMDataset/>': "a DOCTYPE",
    "<PAMDataset><Metadata>" + "<a>" * 100_000: "elements without end",
}


def write_map(path: Path, kind: str, **profile: object) -> Path:
    lattice, dtype = (NIGHT_LIGHTS, np.float32) if kind == "lights" else (LAND_COVER, np.uint8)
    pixels = np.arange(1, 33).reshape(4, 8).astype(dtype)
    return write_window(path, pixels, window_around(lattice, 9.5, 47.1, 8, 4), **profile)


def test_statistics_and_colours_are_passed_over() -> None:
    assert first_telling(SILENT.encode(), 0) == ""
    assert first_telling(SILENT.encode("utf-16"), 0) == ""
    assert first_telling(SILENT.encode(), 5) == "NoDataValue 0"
    assert first_telling(SILENT.encode(), None) == "NoDataValue 0"
    assert first_telling(in_band("<NoDataValue>nan</NoDataValue>").encode(), None) == ""


@pytest.mark.parametrize("text", TELLING)
def test_what_changes_values_or_place_is_found(text: str) -> None:
    assert TELLING[text] in first_telling(text.encode(), None)


@pytest.mark.parametrize("kind", INSPECT)
def test_what_lies_beside_a_map_is_refused_with_the_reason(tmp_path: Path, kind: str) -> None:
    path = write_map(tmp_path / "map [1].tif", kind, nodata=0)
    file = INSPECT[kind](str(path))

    def look() -> None:
        require_silent_sidecars(file, str(path), "--a_flag", BeamFiles())

    look()
    notes, mask = Path(f"{path}.aux.xml"), Path(f"{path}.msk")
    for name in (f"{path}.ovr", path.with_suffix(".tfw"), path.with_suffix(".prj")):
        Path(name).write_text("1")
    notes.write_text(SILENT)
    look()
    notes.write_text(in_band("<NoDataValue>7</NoDataValue>"))
    with pytest.raises(
        InvalidInputError, match=r"--a_flag: what lies beside .* NoDataValue 7\. Move it away"
    ):
        look()
    notes.write_bytes(SILENT.encode() + b" " * MOST_BYTES)
    with pytest.raises(InvalidInputError, match="more than 4194304 bytes"):
        look()
    notes.unlink()
    mask.write_bytes(path.read_bytes())
    with pytest.raises(InvalidInputError, match="lies a mask"):
        look()


def test_a_bucket_is_asked_for_two_names_and_a_failure_is_said(tmp_path: Path) -> None:
    class Bucket(BeamFiles):
        asked: list[str] = []  # noqa: RUF012
        texts: dict[str, str] = {}  # noqa: RUF012

        def exists(self, path: str) -> bool:
            self.asked.append(path)
            return False

        def size(self, path: str) -> int | None:
            self.asked.append(path)
            return len(self.texts[path]) if path in self.texts else None

        def read_bytes(self, path: str) -> bytes:
            if not self.texts[path]:
                raise TransientFault("storage", "gone")
            return self.texts[path].encode()

    bucket, name = Bucket(), "gs://bucket/lc.nc"
    file = inspect_land_cover(str(write_map(tmp_path / "map.tif", "cover")))
    require_silent_sidecars(file, name, "--land_cover", bucket)
    assert bucket.asked == [f"{name}.msk", f"{name}.aux.xml"]
    bucket.texts[f"{name}.aux.xml"] = in_band("<Scale>2</Scale>")
    with pytest.raises(InvalidInputError, match=r"Scale 2\..* Received: gs://bucket/lc\.nc\.aux\.xml"):
        require_silent_sidecars(file, name, "--land_cover", bucket)
    bucket.texts[f"{name}.aux.xml"] = ""
    with pytest.raises(InvalidInputError, match="cannot be looked at"):
        require_silent_sidecars(file, name, "--land_cover", bucket)


@pytest.mark.parametrize("kind", INSPECT)
@pytest.mark.parametrize("tag", ["scales", "offsets"])
def test_scale_and_offset_are_refused(tmp_path: Path, kind: str, tag: str) -> None:
    path = write_map(tmp_path / "map.tif", kind)
    with rasterio.open(path, "r+") as file:
        setattr(file, tag, (2.0,))
    with pytest.raises(InvalidInputError, match="another scale or offset"):
        INSPECT[kind](str(path))


def test_a_land_cover_that_hides_classes_is_refused(tmp_path: Path) -> None:
    assert inspect_land_cover(str(write_map(tmp_path / "map.tif", "cover", nodata=0))).nodata == 0
    with pytest.raises(InvalidInputError, match="another value of no data"):
        inspect_land_cover(str(write_map(tmp_path / "map.tif", "cover", nodata=210)))
    path = write_map(tmp_path / "masked.tif", "cover")
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True), rasterio.open(path, "r+") as file:
        file.write_mask(np.zeros((4, 8), bool))
    with pytest.raises(InvalidInputError, match="another mask"):
        inspect_land_cover(str(path))
    path = write_map(tmp_path / "tagged.tif", "cover")
    with rasterio.open(path, "r+") as file:
        file.update_tags(NODATA_VALUES="210")
    with pytest.raises(InvalidInputError, match="another mask"):
        inspect_land_cover(str(path))


@pytest.mark.parametrize("nodata", [5, 0, -1, np.nan, np.inf, 7.1])
def test_no_data_of_night_lights_is_dark(tmp_path: Path, nodata: float) -> None:
    path = write_map(tmp_path / "map.tif", "lights", nodata=nodata)
    file = inspect_night_lights(str(path))
    with rasterio.Env(**GDAL_OPTIONS), open_raster(file) as dataset:
        lit = lit_pixels(dataset, file, range(4))
    np.testing.assert_array_equal(lit, np.arange(1, 33).reshape(4, 8) != nodata)


def test_no_data_in_a_tag_of_night_lights_is_dark(tmp_path: Path) -> None:
    path = write_map(tmp_path / "map.tif", "lights")
    with rasterio.open(path, "r+") as file:
        file.update_tags(NODATA_VALUES="5")
    file = inspect_night_lights(str(path))
    with rasterio.Env(**GDAL_OPTIONS), open_raster(file) as dataset:
        lit = lit_pixels(dataset, file, range(4))
    np.testing.assert_array_equal(lit, np.arange(1, 33).reshape(4, 8) != 5)
