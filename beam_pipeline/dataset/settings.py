"""The settings of a job that makes a dataset, checked."""

import dataclasses
import functools

from beam_pipeline.dataset.folder import STORE_FOLDER
from beam_pipeline.features.read_process import ReadLimits
from beam_pipeline.imagery.catalog_settings import CatalogSettings
from beam_pipeline.imagery.chips import FilterSettings
from beam_pipeline.labels.ontology import Ontology
from beam_pipeline.runtime.files import join
from beam_pipeline.runtime.traffic import Share


@dataclasses.dataclass(frozen=True, kw_only=True)
class LabelSettings:
    """The way labels are made, and for which dataset; small and picklable, so that every DoFn can hold it.

    Attributes:
        output: The dataset's folder.
        years: The years, ascending.
        api: What one who asks the STAC API, an endpoint of tokens or Overpass may ask of them.
        files: What one who reads files may ask of their hosts.
        overpass_url: The Overpass API that the map is of, "" with extracts.
        ontology_json: The text of the ontology: workers need no file.
        none_labels: Whether 254 is written.
        retry_dead_letters: Whether finished units with dead letters are done again.
        water_polygons: Path of the file of water polygons, which only the launcher reads; "" for none.
        osm_date: As of when Overpass is asked, "2019-07-01T00:00:00Z"; "" for now.
        given_store: The folder of a store of features that was made before; "" where the job makes its own.
        fingerprint: `fingerprint_sha256` of the dataset, "" before the launch has found it.
    """

    output: str
    years: tuple[int, ...]
    api: Share
    files: Share
    overpass_url: str
    ontology_json: str
    none_labels: bool
    retry_dead_letters: bool
    water_polygons: str = ""
    osm_date: str = ""
    given_store: str = ""
    fingerprint: str = ""

    @functools.cached_property
    def ontology(self) -> Ontology:
        """The parsed ontology."""
        return Ontology.load(self.ontology_json)

    @property
    def store(self) -> str:
        """The folder of the store of features that labels are drawn of."""
        return self.given_store or join(self.output, STORE_FOLDER)

    @property
    def sea_known(self) -> bool:
        """Whether water polygons say where the sea is."""
        return bool(self.water_polygons)


@dataclasses.dataclass(frozen=True, kw_only=True)
class BuildSettings(LabelSettings):
    """The settings of a build.

    Attributes:
        seed: Of everything that is drawn.
        cells_per_shard: The most cells of a unit.
        catalog: Which catalogue is asked for scenes, and how.
        max_scene_cloud: Scenes of more `eo:cloud_cover` (percent) are dropped; None keeps all.
        filters: What makes a chip unusable.
        allow_single: Whether a cell-year with one clear date is kept.
        extracts: Paths of .osm.pbf files; empty with Overpass, and with a store of features.
        overpass_cache: Folder of cached Overpass answers, "" for the default.
        read_limits: What reading extracts may take of a machine.
    """

    seed: int
    cells_per_shard: int
    catalog: CatalogSettings
    max_scene_cloud: float | None
    filters: FilterSettings
    allow_single: bool
    extracts: tuple[str, ...]
    overpass_cache: str
    read_limits: ReadLimits = dataclasses.field(default_factory=ReadLimits)

    @property
    def own_network(self) -> bool:
        """Whether hosts of inner networks may be asked; one choice for all hosts."""
        return self.catalog.own_network


@dataclasses.dataclass(frozen=True, kw_only=True)
class PatchSettings(BuildSettings):
    """The settings of a job that writes patches: those of a build without a map.

    Attributes:
        nearest: Whether a place gets the clear date nearest to its own; else a random one.
    """

    nearest: bool
