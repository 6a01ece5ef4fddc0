"""Facts of Sentinel-2's bands and scene classification that catalogues and viewers ask for."""

import dataclasses

from beam_pipeline.exchange.label_classes import LabelClass


@dataclasses.dataclass(frozen=True)
class Band:
    """A band of the Multispectral Instrument.

    Attributes:
        common_name: As STAC's eo extension 2.0 calls it.
        center_um: Central wavelength in micrometres.
        width_um: Full width at half maximum in micrometres.
    """

    common_name: str
    center_um: float
    width_um: float


BANDS = {
    "B01": Band("coastal", 0.443, 0.027),
    "B02": Band("blue", 0.49, 0.098),
    "B03": Band("green", 0.56, 0.045),
    "B04": Band("red", 0.665, 0.038),
    "B05": Band("rededge071", 0.704, 0.019),
    "B06": Band("rededge075", 0.74, 0.018),
    "B07": Band("rededge078", 0.783, 0.028),
    "B08": Band("nir", 0.842, 0.145),
    "B8A": Band("nir08", 0.865, 0.033),
    "B09": Band("nir09", 0.945, 0.026),
    "B11": Band("swir16", 1.61, 0.143),
    "B12": Band("swir22", 2.19, 0.242),
}
"""Source: the items of https://earth-search.aws.element84.com/v1; the names of the red edge are those of
https://github.com/stac-extensions/eo/tree/v2.0.0#common-band-names."""

SCENE_CLASSES = (
    LabelClass(0, "no_data", (0, 0, 0)),
    LabelClass(1, "saturated_or_defective", (255, 0, 0)),
    LabelClass(2, "dark_area", (47, 47, 47)),
    LabelClass(3, "cloud_shadow", (100, 50, 0)),
    LabelClass(4, "vegetation", (0, 160, 0)),
    LabelClass(5, "not_vegetated", (255, 230, 90)),
    LabelClass(6, "water", (0, 0, 255)),
    LabelClass(7, "unclassified", (128, 128, 128)),
    LabelClass(8, "cloud_medium_probability", (192, 192, 192)),
    LabelClass(9, "cloud_high_probability", (255, 255, 255)),
    LabelClass(10, "thin_cirrus", (100, 200, 255)),
    LabelClass(11, "snow_or_ice", (255, 150, 255)),
)
"""Source: https://custom-scripts.sentinel-hub.com/custom-scripts/sentinel-2/scene-classification/."""
