"""The settings of the job that fills a feature store, checked."""

import dataclasses

from beam_pipeline.features.identity import ExtractIdentity
from beam_pipeline.features.read_process import ReadLimits
from beam_pipeline.labels.chip_boxes import Bounds
from beam_pipeline.runtime.traffic import Share


@dataclasses.dataclass(frozen=True)
class GivenExtract:
    """An extract to be read.

    Attributes:
        path: Where it lies.
        identity: What tells it from others.
        bounds: (west, south, east, north) in degrees, as its header says; None where it does not.
    """

    path: str
    identity: ExtractIdentity
    bounds: Bounds | None


@dataclasses.dataclass(frozen=True)
class AskedOverpass:
    """The Overpass server that is asked in place of extracts.

    Attributes:
        url: Its API.
        cache: Folder of cached answers, "" for the default.
        date: As of when it is asked, "2019-07-01T00:00:00Z"; "" for now.
        own_network: Whether hosts of inner networks may be asked.
    """

    url: str
    cache: str
    date: str
    own_network: bool


@dataclasses.dataclass(frozen=True)
class ExtractSettings:
    """The job's settings; small and picklable, so that every DoFn can hold them. The cells lie in the store's plan.

    Attributes:
        output: The job's output folder, by which its stages share limits.
        store: The store's folder.
        extracts: The extracts; none with Overpass.
        overpass: The server that is asked instead; None with extracts.
        keys: An object with one of these is kept.
        make_all: Whether all tiles are made, and made again if an extract failed for them; else those that units wait
            for.
        limits: What reading extracts may take of a machine.
        api: What one who asks Overpass may ask of it.
        files: What one who reads files may ask of their hosts.
    """

    output: str
    store: str
    extracts: tuple[GivenExtract, ...]
    overpass: AskedOverpass | None
    keys: tuple[str, ...]
    make_all: bool
    limits: ReadLimits
    api: Share
    files: Share
