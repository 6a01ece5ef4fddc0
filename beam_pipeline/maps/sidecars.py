"""Files beside a raster that would change what it says, if they were read: a mask, no data, a scale, a place.

We read none of it. GDAL and the programs built on it do, so somebody may have meant it: such a file is refused,
and not quietly taken without. Statistics, histograms and colours, which QGIS and ArcGIS write as they show a raster,
are passed over.
"""

import math
import xml.parsers.expat

from beam_pipeline.maps.rasters import RasterFile
from beam_pipeline.runtime.faults import Fault, InvalidInputError
from beam_pipeline.runtime.files import Files

MOST_BYTES = 1 << 22
"""Of an .aux.xml; a histogram and a table of classes have some 10 kB."""

_MOST_DEPTH = 100

# Source: GDAL's gcore/gdalpamdataset.cpp and gdalpamrasterband.cpp, which write them.
_OPENED = {"PAMDataset", "PAMRasterBand", "Subdataset"}
_HARMLESS = {
    "CategoryNames",
    "ColorInterp",
    "ColorTable",
    "Description",
    "GDALRasterAttributeTable",
    "Histograms",
    "Maximum",
    "Metadata",
    "Minimum",
    "UnitType",
}
_NUMBERS = {"NoDataValue", "Offset", "Scale"}
_IN_METADATA = "GeodataXform"
"""Where ArcGIS keeps a place: in a domain of the metadata, which GDAL then takes it from."""


class _Telling(Exception):
    """An element that changes what the raster says."""


def require_silent_sidecars(file: RasterFile, path: str, flag: str, files: Files) -> None:
    """Refuses a raster beside which there is a mask, or an .aux.xml that changes its values or its place.

    Args:
        file: The raster.
        path: What the sidecars are named after: its path, or that of what it was expanded or copied from.
        flag: The flag that it was given by, for messages.
        files: The file system.

    Raises:
        InvalidInputError: There is one, or it cannot be read; the message says what it holds, and what to do.
    """
    mask, notes = f"{path}.msk", f"{path}.aux.xml"
    try:
        has_mask, size = files.exists(mask), files.size(notes)
        text = files.read_bytes(notes) if size is not None and size <= MOST_BYTES else None
    except Fault as fault:
        raise InvalidInputError(
            f"{flag}: what lies beside {path} cannot be looked at: {fault}. Received: {path}"
        ) from fault
    if has_mask:
        raise InvalidInputError(
            f"{flag}: beside {path} lies a mask, which is not read. Move it away where it is not needed; else write "
            "it into the file (gdal_translate -mask mask --config GDAL_TIFF_INTERNAL_MASK YES IN OUT). "
            f"Received: {mask}"
        )
    if size is None:
        return
    telling = f"more than {MOST_BYTES} bytes" if text is None else first_telling(text, file.nodata)
    if telling:
        raise InvalidInputError(
            f"{flag}: what lies beside {path} is not read, and it says more than statistics and colours: "
            f"{telling}. Move it away where it is not needed; else write it into the file (gdal_translate IN OUT). "
            f"Received: {notes}"
        )


def first_telling(text: bytes, nodata: float | None) -> str:
    """Finds what an .aux.xml says beyond statistics and colours.

    Args:
        text: The file.
        nodata: The raster's own value of no data, which it may repeat, as it may a scale of 1 and an offset of 0.

    Returns:
        The first element that changes values or place, or what makes the file unreadable; "" where there is none.
    """
    reader = _Reader(nodata)
    parser = xml.parsers.expat.ParserCreate()
    parser.StartElementHandler = reader.start
    parser.EndElementHandler = reader.end
    parser.CharacterDataHandler = reader.add_text
    parser.StartDoctypeDeclHandler = reader.refuse_doctype  # without it, no entities
    parser.buffer_text = True
    try:
        parser.Parse(text, True)
    except _Telling as telling:
        return str(telling)
    except xml.parsers.expat.ExpatError as error:
        return f"what is no XML ({error})"
    return ""


class _Reader:
    """Follows the elements of a file."""

    def __init__(self, nodata: float | None) -> None:
        self._same = {"NoDataValue": nodata, "Scale": 1.0, "Offset": 0.0}
        self._open: list[str] = []
        self._key = self._text = ""

    def start(self, name: str, attributes: dict[str, str]) -> None:
        self._text, self._key = "", attributes.get("key", "")
        within = self._open[-1] if self._open else ""
        self._open.append(name)
        if len(self._open) > _MOST_DEPTH:
            raise _Telling("elements without end in each other")
        if within in _OPENED or not within:
            known = _OPENED | _HARMLESS | _NUMBERS if within else {"PAMDataset"}
            if name not in known:
                raise _Telling(name)
        elif within in _NUMBERS or name == _IN_METADATA or self._key == "NODATA_VALUES":
            raise _Telling(self._key or name)

    def end(self, name: str) -> None:
        self._open.pop()
        if name in _NUMBERS and self._open[-1] in _OPENED and not self._repeats(name):
            raise _Telling(f"{name} {self._text.strip()}")

    def add_text(self, text: str) -> None:
        self._text += text

    def refuse_doctype(self, *_: object) -> None:
        raise _Telling("a DOCTYPE")

    def _repeats(self, name: str) -> bool:
        """Whether a number is the raster's own."""
        own = self._same[name]
        try:
            number = float(self._text)
        except ValueError:
            return False
        return number == own or (own is None and math.isnan(number))
