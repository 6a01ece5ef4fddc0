"""The QGIS project of an export: every layer is there, and a real QGIS draws it in the right colours."""

import json
import os
import subprocess
import xml.etree.ElementTree as ET
import zipfile
from pathlib import Path

import numpy as np
import pyproj
import pytest
from PIL import Image

from beam_pipeline.report.colours import COLOURS, NONE_COLOUR
from tests.exchange.georeferenced import CHIPS, cell_years
from tests.model_tf.made_dataset import ONTOLOGY

ZONES = {32633, 32634, 32760}


@pytest.fixture(scope="module")
def project(georeferenced: Path) -> ET.Element:
    with zipfile.ZipFile(georeferenced / "opensentinelmap.qgz") as archive:
        (name,) = archive.namelist()
        assert name.endswith(".qgs")
        return ET.fromstring(archive.read(name))


def test_every_layer_leads_to_a_file(project: ET.Element, georeferenced: Path) -> None:
    layers = project.findall("projectlayers/maplayer")
    sources = [layer.findtext("datasource") for layer in layers]
    for layer in layers:
        system = layer.find("srs/spatialrefsys")
        code = pyproj.CRS.from_wkt(system.findtext("wkt")).to_epsg()
        zone = layer.findtext("id").rpartition("_")[2]
        assert system.findtext("authid") == f"EPSG:{code}" == f"EPSG:{zone if zone.isdecimal() else 4326}"
    assert len(sources) == len({*sources}) == 1 + len(ZONES) * (3 + 4) - 1  # cell 5 has one image in 2021
    for source in sources:
        path = georeferenced / source.partition("|")[0]
        assert source.startswith("./")
        assert path.is_file()
        if path.suffix == ".vrt":
            for inner in ET.parse(path).iter("SourceFilename"):
                assert (path.parent / inner.text).is_file()


def test_the_tree_and_the_layers_agree(project: ET.Element) -> None:
    in_tree = [it.get("id") for it in project.iter("layer-tree-layer")]
    ids = [it.findtext("id") for it in project.findall("projectlayers/maplayer")]
    assert in_tree == ids == [it.get("id") for it in project.findall("layerorder/layer")]
    assert all(len(each) > 10 for each in ids)  # or QGIS calls it otherwise
    groups = [it.get("name") for it in project.findall("layer-tree-group/layer-tree-group")]
    assert groups == [
        *("buildings", "OSM_water_and_roads", "OSM_land_use"),
        *(f"Images of {year}, {slot}" for year in (2020, 2021) for slot in ("earlier", "later")),
    ]


def test_styles_have_the_ontologys_colours(project: ET.Element, georeferenced: Path) -> None:
    for channel in ONTOLOGY["channels"]:
        style = ET.parse(georeferenced / "styles" / f"label_{channel['name']}.qml").getroot()
        entries = {it.get("label"): it for it in style.iter("paletteEntry")}
        for name, value in channel["labels"].items():
            assert entries[name].get("value") == str(value)
            assert entries[name].get("color") == "#{:02x}{:02x}{:02x}".format(*COLOURS[name])
            assert entries[name].get("alpha") == "255"
        assert entries["unlabeled"].get("alpha") == "0"
        in_project = [
            layer
            for layer in project.iter("maplayer")
            if (layer.findtext("id") or "").startswith(f"label_{channel['name']}")
        ]
        assert len(in_project) == len(ZONES)
        for layer in in_project:
            assert ET.tostring(layer.find("pipe")) == ET.tostring(style.find("pipe"))


DRAW = """
import json, sys
from qgis.core import *
from qgis.PyQt.QtCore import QSize
from qgis.PyQt.QtGui import QColor
app = QgsApplication([], False)
app.initQgis()
project = QgsProject.instance()
assert project.read(sys.argv[1])
layers = project.mapLayers()
found = {name: [it.isValid(), it.crs().authid(), it.renderer().type()] for name, it in layers.items()}
settings = QgsMapSettings()
settings.setLayers([layers[name] for name in sys.argv[3].split(",")])
settings.setOutputSize(QSize(192, 192))
settings.setBackgroundColor(QColor("white"))
settings.setDestinationCrs(QgsCoordinateReferenceSystem("EPSG:32634"))
settings.setExtent(QgsRectangle(300000, 5000040, 301920, 5001960))
job = QgsMapRendererSequentialJob(settings)
job.start()
job.waitForFinished()
job.renderedImage().save(sys.argv[2])
print(json.dumps({"crs": project.crs().authid(), "layers": found}), flush=True)
sys.stdout.close()
import os
os._exit(0)  # QGIS may crash while it is taken down
"""


@pytest.mark.engines
def test_qgis_draws_the_labels_pixel_by_pixel(georeferenced: Path, tmp_path: Path) -> None:
    """Needs Debian's python3-qgis."""
    has = subprocess.run(["/usr/bin/python3", "-c", "import qgis.core"], capture_output=True, check=False)
    if has.returncode:
        pytest.skip("QGIS is absent: apt-get install --no-install-recommends python3-qgis")
    picture = tmp_path / "map.png"
    project = georeferenced / "opensentinelmap.qgz"
    ran = subprocess.run(
        ["/usr/bin/python3", "-c", DRAW, str(project), str(picture), "label_OSM_land_use_32634"],
        env={"PATH": os.environ["PATH"], "QT_QPA_PLATFORM": "offscreen", "XDG_RUNTIME_DIR": str(tmp_path)},
        capture_output=True,
        text=True,
        check=True,
    )
    told = json.loads(ran.stdout.splitlines()[-1])
    assert told["crs"] == "EPSG:3857"
    assert len(told["layers"]) == 1 + len(ZONES) * 7 - 1
    for name, (valid, crs, renderer) in told["layers"].items():
        assert valid, name
        assert crs in {"EPSG:4326", *(f"EPSG:{zone}" for zone in ZONES)}
        assert renderer in {"paletted", "multibandcolor", "categorizedSymbol"}
    label = cell_years()["training"][1][0].label[..., 0]
    assert CHIPS[4][1].bounds == (300000, 5000040, 301920, 5001960)
    colours = np.full((256, 3), 255, np.uint8)
    for name, value in ONTOLOGY["channels"][0]["labels"].items():
        colours[value] = COLOURS[name]
    colours[254] = NONE_COLOUR
    drawn = np.array(Image.open(picture).convert("RGB"))
    assert np.array_equal(drawn, colours[label])
