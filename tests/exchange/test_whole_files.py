"""What a format says that it writes into the export's folder itself is what lies there."""

from pathlib import Path

import pytest

from beam_pipeline.exchange.card import Card
from beam_pipeline.exchange.format import Format
from beam_pipeline.exchange.geotiff_format import GeoTiff
from beam_pipeline.exchange.published import Published
from beam_pipeline.exchange.webdataset import WebDataset
from tests.exchange.conftest import export

OF_ALL = {"LICENSES.md", "CITATION.cff"}


def files_in(folder: Path) -> set[str]:
    """Returns the names of files, but for the shards: they are called as no stranger calls his."""
    return {it.name for it in folder.iterdir() if it.is_file() and not it.name.startswith("opensentinelmap-")}


@pytest.mark.parametrize("chosen", [Published(), WebDataset(), Card()], ids=lambda it: it.name)
def test_what_a_format_writes(chosen: Format, dataset: Path, tmp_path: Path) -> None:
    export(dataset, tmp_path, chosen)
    assert files_in(tmp_path) == {*chosen.whole_files} | OF_ALL


def test_what_geotiff_writes(georeferenced: Path) -> None:
    assert files_in(georeferenced) == {*GeoTiff.whole_files} | OF_ALL
