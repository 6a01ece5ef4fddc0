"""Places from fMoW's metadata, made in its published form."""

import json
from pathlib import Path

import pyproj
import pytest

from beam_pipeline.places.fmow import CATEGORIES, NOT_TAKEN, read_fmow_places
from beam_pipeline.runtime.faults import InvalidInputError

LEFT, TOP, WIDTH, HEIGHT, GSD = 300_000.0, 5_500_000.0, 800, 600, 0.5
TO_DEGREES = pyproj.Transformer.from_crs(32632, 4326, always_xy=True)


WHOLE_IMAGE = {"ID": -1, "category": "zoo", "box": [0, 0, WIDTH, HEIGHT], "visible": True}
"""The first entry of each file of the archive."""


def metadata(*boxes: dict[str, object], **more: object) -> dict[str, object]:
    """Returns the metadata of an image in UTM zone 32, with north above."""
    right, bottom = LEFT + WIDTH * GSD, TOP - HEIGHT * GSD
    corners = [(LEFT, TOP), (right, TOP), (right, bottom), (LEFT, bottom), (LEFT, TOP)]
    ring = ", ".join("{!r} {!r}".format(*TO_DEGREES.transform(*corner)) for corner in corners)
    return {
        "gsd": GSD,
        "img_width": WIDTH,
        "img_height": HEIGHT,
        "country_code": "DEU",
        "timestamp": "2016-03-04T10:20:30Z",
        "raw_location": f"POLYGON (({ring}))",
        "bounding_boxes": [WHOLE_IMAGE, *boxes],
        **more,
    }


def box(
    category: str, x: float = 100, y: float = 200, width: float = 60, height: float = 40
) -> dict[str, object]:
    return {"ID": 1, "category": category, "box": [x, y, width, height], "visible": True}


def write(folder: Path, name: str, content: object) -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


def test_a_place_is_the_middle_of_a_box_of_the_first_date_of_a_location(tmp_path):
    write(tmp_path, "train/airport/airport_0/airport_0_10_rgb.json", metadata(box("airport", 0, 0)))
    write(tmp_path, "train/airport/airport_0/airport_0_2_rgb.json", metadata(box("airport")))
    write(tmp_path, "train/airport/airport_0/airport_0_2_msrgb.json", metadata(box("airport", 5, 5)))
    write(tmp_path, "train/airport/airport_0/airport_0_0_rgb.jpg", "")
    (place,) = read_fmow_places(str(tmp_path)).places
    assert (place.name, place.class_name, place.split) == ("train/airport/airport_0", "airport", "training")
    assert place.date == "2016-03-04"
    expected = TO_DEGREES.transform(LEFT + (100 + 30) * GSD, TOP - (200 + 20) * GSD)
    # Degrees between the corners are linear to some centimetres over 400 m.
    _, _, metres = pyproj.Geod(ellps="WGS84").inv(place.longitude, place.latitude, *expected)
    assert metres < 0.1


def test_splits_are_those_of_the_folders(tmp_path):
    for folder in ("train", "val", "test_gt", "seq_gt"):
        write(tmp_path, f"{folder}/zoo/zoo_1/zoo_1_0_rgb.json", metadata(box("zoo")))
    places = read_fmow_places(str(tmp_path)).places
    assert [(it.name.split("/")[0], it.split) for it in places] == [
        ("train", "training"),
        ("val", "validation"),
        ("test_gt", "testing"),
        ("seq_gt", "testing"),
    ]


def test_what_is_no_class_is_counted(tmp_path):
    for index, category in enumerate(("false_detection", *NOT_TAKEN, "zoo")):
        write(tmp_path, f"train/a/a_{index}/a_{index}_0_rgb.json", metadata(box(category)))
    write(
        tmp_path,
        "train/b/b_0/b_0_0_rgb.json",
        metadata(box("false_detection"), box("zoo", 10, 10), box("zoo", 300, 300)),
    )
    found = read_fmow_places(str(tmp_path))
    assert [it.name for it in found.places] == ["train/a/a_4", "train/b/b_0", "train/b/b_0#1"]
    assert found.left_out == {
        "construction_site": 1,
        "false_detection": 2,
        "flooded_road": 1,
        "impoverished_settlement": 1,
    }


def test_the_entry_of_the_whole_image_is_no_box(tmp_path):
    """Wherever it stands, and whatever it says; alone it marks nothing, so the location is left out and counted."""
    first, bare = metadata(box("zoo")), metadata(box("zoo"))
    bare["bounding_boxes"] = [box("zoo"), {"ID": -1}]
    plain = metadata() | {"bounding_boxes": [box("zoo")]}
    for index, content in enumerate((first, bare, plain, metadata())):
        write(tmp_path, f"val/zoo/zoo_{index}/zoo_{index}_0_rgb.json", content)
    found = read_fmow_places(str(tmp_path))
    assert [it.name for it in found.places] == ["val/zoo/zoo_0", "val/zoo/zoo_1", "val/zoo/zoo_2"]
    assert len({(it.longitude, it.latitude) for it in found.places}) == 1
    assert found.left_out == {"no_box": 1}


def test_classes_are_59_of_62():
    assert len(CATEGORIES) == 62
    assert len(CATEGORIES - {*NOT_TAKEN}) == 59
    assert "false_detection" not in CATEGORIES


def test_a_box_alone_and_corners_in_any_order(tmp_path):
    plain = metadata(box("zoo"))
    turned = metadata() | {"bounding_boxes": box("zoo")}
    points = turned["raw_location"].removeprefix("POLYGON ((").removesuffix("))").split(", ")[:4]
    for index, content in enumerate((plain, turned)):
        write(tmp_path, f"val/zoo/zoo_{index}/zoo_{index}_0_rgb.json", content)
    turned["raw_location"] = f"POLYGON (({', '.join([*points[2:], *points[:3]])}))"
    write(tmp_path, "val/zoo/zoo_2/zoo_2_0_rgb.json", turned)
    assert len({(it.longitude, it.latitude) for it in read_fmow_places(str(tmp_path)).places}) == 1


def test_an_image_across_the_antimeridian(tmp_path):
    ring = "179.999 1, -179.999 1, -179.999 0.998, 179.999 0.998, 179.999 1"
    content = metadata(box("zoo", 600, 0, 200, 600), raw_location=f"POLYGON (({ring}))")
    write(tmp_path, "val/zoo/zoo_0/zoo_0_0_rgb.json", content)
    (place,) = read_fmow_places(str(tmp_path)).places
    assert place.longitude == pytest.approx(-179.99925)
    assert place.latitude == pytest.approx(0.999)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "is no metadata of fMoW"),
        ('{"images": []}', "is no metadata of fMoW.*: .*img_width"),
        (
            metadata({"ID": 3, "box": [1, 2, 3, 4]}),
            r"is no metadata of fMoW.*: bounding_boxes\[1\]\.category: ",
        ),
        (
            metadata({"category": "zoo", "box": [1, 2, 3]}),
            r"is no metadata of fMoW.*: bounding_boxes\[1\]\.box",
        ),
        (metadata(None), r"is no metadata of fMoW.*: bounding_boxes\[1\]: .*must be an object"),
        (metadata(bounding_boxes=None), r"is no metadata of fMoW.*: bounding_boxes: "),
        (metadata(bounding_boxes="zoo"), r"is no metadata of fMoW.*: bounding_boxes: "),
        (metadata(box("zoo"), img_width=0), "img_width"),
        (metadata(box("zoo"), img_height=10**400), "img_height"),
        (metadata(box("zoo"), raw_location="POINT (1 2)"), "raw_location must be a valid POLYGON"),
        (metadata(box("zoo"), raw_location="here"), "raw_location must be a valid POLYGON"),
        (
            metadata(box("zoo"), raw_location="POLYGON ((0 0, 1 0, 1 1, 0 0))"),
            "raw_location must have 4 corners",
        ),
        (
            metadata(box("zoo"), raw_location="POLYGON ((0 98, 1 98, 1 99, 0 99, 0 98))"),
            "in latitude, must be",
        ),
        (metadata(box("zoo", 790, 0, 60, 40)), r"bounding_boxes\[1\]\.box must be .*800 x 600"),
        (metadata(box("zoo", 0, 0, 0, 40)), r"bounding_boxes\[1\]\.box must be"),
        (metadata(box("zoo", 0, 0, float("nan"), 40)), r"bounding_boxes"),
        (metadata(box("zoo"), timestamp="in March"), "timestamp must be a date"),
        (metadata(box("zoos")), r"bounding_boxes\[1\]\.category must be one of fMoW's 62\. Received: 'zoos'"),
    ],
)
def test_a_file_of_another_form_is_named_with_its_field(tmp_path, content, message):
    path = write(tmp_path, "train/zoo/zoo_0/zoo_0_0_rgb.json", content)
    with pytest.raises(InvalidInputError, match=f"{path}.*{message}"):
        read_fmow_places(str(tmp_path))


def test_folders_of_images_are_not_taken_and_files_without_corners_name_the_archive(tmp_path):
    unlabelled = {"ID": 7, "box": [1, 2, 3, 4]}
    write(tmp_path, "test/0012/0012_0_rgb.json", metadata(unlabelled))
    write(tmp_path, "seq/0013/0013_0_rgb.json", metadata(unlabelled))
    with pytest.raises(InvalidInputError, match=r"of fMoW's archive groundtruth\.tar\.bz2, .*without any"):
        read_fmow_places(str(tmp_path))
    write(tmp_path, "test_gt/zoo/zoo_1/zoo_1_0_rgb.json", metadata(box("zoo")))
    write(tmp_path, "test_gt_mapping.json", [{"input": "test_gt/zoo/zoo_1", "output": "test/0012"}])
    assert [it.name for it in read_fmow_places(str(tmp_path)).places] == ["test_gt/zoo/zoo_1"]
    stripped = metadata(box("zoo"))
    del stripped["raw_location"]
    path = write(tmp_path, "train/zoo/zoo_0/zoo_0_0_rgb.json", stripped)
    with pytest.raises(InvalidInputError, match=rf"{path} is no .*raw_location: .*folder of that archive"):
        read_fmow_places(str(tmp_path))


def test_folders_without_metadata_and_links_are_refused(tmp_path):
    with pytest.raises(InvalidInputError, match="--fmow: it must be a folder"):
        read_fmow_places(str(tmp_path / "none"))
    write(tmp_path, "airport/airport_0/airport_0_0_rgb.json", metadata(box("airport")))
    with pytest.raises(InvalidInputError, match="--fmow must hold folders train, val, test_gt, seq_gt"):
        read_fmow_places(str(tmp_path))
    link = tmp_path / "val/zoo/zoo_0/zoo_0_0_rgb.json"
    link.parent.mkdir(parents=True)
    link.symlink_to(tmp_path / "airport/airport_0/airport_0_0_rgb.json")
    with pytest.raises(InvalidInputError, match=f"{link} cannot be read: .*link"):
        read_fmow_places(str(tmp_path))
