"""rasterio with the GDAL drivers that are needed, and no other: import rasterio from here.

Metadata of a raster may name another file, which GDAL opens with every driver that it has. GDAL registers its drivers
once a process. Importing this module has them registered, and all but those of `KEPT` taken away, before anything is
opened. pyogrio has a GDAL of its own: `vector_drivers`.
"""

import logging
from typing import Any

from beam_pipeline.runtime.driver_registry import keep_drivers
from beam_pipeline.runtime.environment import settle_rasters

settle_rasters()  # in workers too, which no command of ours started

import rasterio  # noqa: E402
import rasterio._env  # noqa: E402
import rasterio.features  # noqa: E402
from rasterio.session import DummySession  # noqa: E402

KEPT = frozenset({"COG", "GTiff", "MEM", "PNG"})
"""GTiff reads, COG writes the sample world, MEM holds what is drawn, PNG is how a dataset's images are packed.

`docs/security.md` says it too.
"""


def gdal_options(**options: Any) -> rasterio.Env:
    """Returns a context in which options of GDAL hold.

    Where AWS keys are in the environment, rasterio's own opens a session of AWS each time, which no file here needs and
    which fails where `AWS_PROFILE` or ~/.aws/config is not as boto3 wants it.

    Args:
        options: By GDAL's names.
    """
    return rasterio.Env(session=DummySession(), **options)


def require_drawing() -> None:
    """Fails where drawing would: rasterio opens a session of AWS for it, whatever context it is drawn in.

    Raises:
        botocore.exceptions.BotoCoreError: AWS keys are set, and boto3 refuses `AWS_PROFILE` or another setting.
    """
    with rasterio.Env():
        pass


def _take_away_others() -> None:
    with gdal_options() as env:
        keep_drivers(rasterio._env.__file__, KEPT)
        left = sorted(env.drivers().keys() - KEPT)
    if left:
        logging.getLogger(__name__).warning(
            "GDAL has %d drivers that are not needed, such as %s, and cannot be made to forget them. Do not read "
            "files of strangers in this process.",
            len(left),
            ", ".join(left[:3]),
        )


_take_away_others()

__all__ = ["KEPT", "gdal_options", "rasterio", "require_drawing"]
