"""The area that a person gives to a job."""

from beam_pipeline.cells.region import is_bbox, region_polygons
from beam_pipeline.jobs.given_files import read_given_text
from beam_pipeline.runtime.faults import InvalidInputError


def read_area(given: str) -> str:
    """Reads and checks what `--area` names.

    Args:
        given: "min_lon,min_lat,max_lon,max_lat", or the path of a GeoJSON file, local or a URL.

    Returns:
        The numbers as they are, or the text of the file; `cells.region` takes both.

    Raises:
        InvalidInputError: It is no area, or the file cannot be read; the message names the file.
    """
    if is_bbox(given):
        region_polygons(given)
        return given
    text = read_given_text(given, "--area")
    try:
        region_polygons(text)
    except InvalidInputError as error:
        raise InvalidInputError(f"--area {given}: {error}") from error
    return text
