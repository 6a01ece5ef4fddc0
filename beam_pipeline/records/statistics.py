"""Mean and variance of every band, by which images are standardised."""

import dataclasses
import math
from collections.abc import Mapping
from typing import Self

from beam_pipeline.records.description import BandMoments
from beam_pipeline.records.schema import GRID_BANDS
from beam_pipeline.runtime.faults import InvalidInputError

INPUT_BANDS = {grid: GRID_BANDS[grid] for grid in ("gsd_10", "gsd_20")}
"""The bands that the network sees, in order, by grid."""

_MOST_REFLECTANCE = 7.0
"""More than a DN of 16 bits stands for."""

_MOST_DEVIATIONS = 1e6
"""Of a pixel from the mean. More comes of wrong statistics only, and makes a net's activations overflow."""


@dataclasses.dataclass(frozen=True)
class BandStatistics:
    """Mean and variance of each band's reflectance, by which images are standardised.

    Attributes:
        mean: Mean by band name, e.g. "B02".
        variance: Variance by band name, above 0.
    """

    mean: Mapping[str, float]
    variance: Mapping[str, float]

    @classmethod
    def of_bands(cls, bands: Mapping[str, BandMoments], source: str) -> Self:
        """Takes the bands that the network sees.

        Args:
            bands: By band name; others are left out.
            source: Where they are from, for messages.

        Returns:
            The statistics.

        Raises:
            InvalidInputError: A band is missing, has no number or varies too little to be standardised.
        """
        mean, variance = {}, {}
        for band in (band for bands_of_grid in INPUT_BANDS.values() for band in bands_of_grid):
            of_band = bands.get(band, BandMoments())
            mean[band] = _number(of_band.mean, f"{source}.{band}.mean", above=-math.inf)
            variance[band] = _number(of_band.variance, f"{source}.{band}.variance", above=0)
            farthest = (_MOST_REFLECTANCE + abs(mean[band])) / math.sqrt(variance[band])
            if farthest > _MOST_DEVIATIONS:
                raise InvalidInputError(
                    f"{source}.{band} must have a mean and a variance that images can be standardised with. Received: "
                    f"mean {mean[band]:g} and variance {variance[band]:g}, from which a pixel may be {farthest:.0e} "
                    "deviations away. See that they are those of the training images."
                )
        return cls(mean, variance)

    def to_json(self) -> dict[str, dict[str, float]]:
        """Returns {"B02": {"mean", "variance"}, ...}, for `json.dump`."""
        return {band: {"mean": self.mean[band], "variance": self.variance[band]} for band in self.mean}


def _number(value: float | None, path: str, above: float) -> float:
    if value is None or not math.isfinite(value) or value <= above:
        bound = f" above {above:g}" if math.isfinite(above) else ""
        raise InvalidInputError(
            f"{path} must be a number{bound}. Received: {value!r}. Images are standardised with it. The pipeline "
            "computes it over the training split: build a dataset that has training examples."
        )
    return value
