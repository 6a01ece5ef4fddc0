"""Lists of labelled places: read or refused with the file's name, whatever they hold."""

import functools
import json
import tempfile
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from beam_pipeline.places.eurosat import read_eurosat_places
from beam_pipeline.places.fmow import CATEGORIES, read_fmow_places
from beam_pipeline.places.place_list import PlaceList
from beam_pipeline.places.table import read_table
from beam_pipeline.runtime.faults import InvalidInputError
from tests.fuzz.foreign import damaged, values
from tests.fuzz.test_decoders import damaged_bytes, damaged_csv, outcome, patient
from tests.model_tf.downstream_tasks.made_tiles import made_dn, write_tile
from tests.places.test_fmow import box, metadata

POINTS = "name,class,lon,lat,split,date\na,wood,6.25,49.5,val,2019-07-01\nb,mill,-180,-90,,\n"
POLYGONS = "class,wkt\nwood,POINT (6 49)\n"
GEOJSON = {
    "type": "FeatureCollection",
    "features": [
        {
            "type": "Feature",
            "properties": {"class": "wood", "name": "a", "split": "testing", "date": "2019-07-01T10:00:00Z"},
            "geometry": {"type": "Polygon", "coordinates": [[[6, 49], [7, 49], [7, 50], [6, 49]]]},
        },
        {
            "type": "Feature",
            "properties": {"class": "mill"},
            "geometry": {"type": "Point", "coordinates": [6, 49]},
        },
    ],
}


def check(found: object, beginning: str) -> None:
    """Checks that a list is sound, or refused by name."""
    if isinstance(found, InvalidInputError):
        assert str(found).startswith(beginning)
        return
    assert isinstance(found, PlaceList)
    for place in found.places:
        assert abs(place.longitude) <= 180
        assert abs(place.latitude) <= 90
        assert place.name.isprintable()
        assert place.class_name.isprintable()
        assert place.name.strip()
        assert place.class_name.strip()


@given(damaged_csv(POINTS) | damaged_csv(POLYGONS) | st.text())
@patient
def test_a_table_is_read_or_refused(text: str) -> None:
    check(outcome(lambda: read_table(text, "a.csv"), InvalidInputError), "a.csv")


@given(damaged(GEOJSON).map(json.dumps) | values.map(json.dumps) | st.text())
@patient
def test_a_geojson_is_read_or_refused(text: str) -> None:
    check(outcome(lambda: read_table(text, "a.geojson"), InvalidInputError), "a.geojson")


@given(damaged(metadata(box("zoo"), box("park", 5, 5))).map(json.dumps) | values.map(json.dumps) | st.text())
@patient
def test_metadata_of_fmow_are_read_or_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "train" / "zoo" / "zoo_0" / "zoo_0_0_rgb.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, errors="surrogatepass")
    found = outcome(lambda: read_fmow_places(str(tmp_path)), InvalidInputError)
    check(found, str(path))
    if isinstance(found, PlaceList):
        assert {it.class_name for it in found.places} <= CATEGORIES


@functools.cache
def a_tile() -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        write_tile(Path(folder) / "a.tif", made_dn(0, 1))
        return Path(folder, "a.tif").read_bytes()


@given(
    st.deferred(lambda: damaged_bytes(a_tile()) | damaged_bytes(a_tile()[:2000])) | st.binary(max_size=200)
)
@patient
def test_a_tile_of_eurosat_is_read_or_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "Forest" / "Forest_1.tif"
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(content)
    check(outcome(lambda: read_eurosat_places(str(tmp_path)), InvalidInputError), str(path))
