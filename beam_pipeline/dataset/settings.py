"""The settings of a build, checked."""

import dataclasses
import functools

from beam_pipeline.imagery.catalog_settings import CatalogSettings
from beam_pipeline.imagery.chips import FilterSettings
from beam_pipeline.labels.ontology import Ontology
from beam_pipeline.runtime.traffic import Share


@dataclasses.dataclass(frozen=True)
class BuildSettings:
    """The settings of a build, checked; small and picklable, so that every DoFn can hold it.

    Attributes:
        output: The dataset's folder.
        years: The years, ascending.
        seed: Of everything that is drawn.
        cells_per_shard: The most cells of a unit.
        catalog: Which catalogue is asked for scenes, and how.
        max_scene_cloud: Scenes of more `eo:cloud_cover` (percent) are dropped; None keeps all.
        filters: What makes a chip unusable.
        allow_single: Whether a cell-year with one clear date is kept.
        api: What one who asks the STAC API, an endpoint of tokens or Overpass may ask of them.
        files: What one who reads files may ask of their hosts.
        extracts: Paths of .osm.pbf files; empty with Overpass.
        overpass_url: The Overpass API, "" with extracts.
        overpass_cache: Folder of cached Overpass answers, "" for the default.
        ontology_json: The text of the ontology: workers need no file.
        none_labels: Whether 254 is written.
        retry_dead_letters: Whether finished units with dead letters are done again.
        water_polygons: Path of the file of water polygons, which only the launcher reads; "" for none.
        osm_date: As of when Overpass is asked, "2019-07-01T00:00:00Z"; "" for now.
        fingerprint: `fingerprint_sha256` of the dataset, "" before the launch has found it.
    """

    output: str
    years: tuple[int, ...]
    seed: int
    cells_per_shard: int
    catalog: CatalogSettings
    max_scene_cloud: float | None
    filters: FilterSettings
    allow_single: bool
    api: Share
    files: Share
    extracts: tuple[str, ...]
    overpass_url: str
    overpass_cache: str
    ontology_json: str
    none_labels: bool
    retry_dead_letters: bool
    water_polygons: str = ""
    osm_date: str = ""
    fingerprint: str = ""

    @functools.cached_property
    def ontology(self) -> Ontology:
        """The parsed ontology."""
        return Ontology.load(self.ontology_json)

    @property
    def sea_known(self) -> bool:
        """Whether water polygons say where the sea is."""
        return bool(self.water_polygons)

    @property
    def own_network(self) -> bool:
        """Whether hosts of inner networks may be asked; one choice for all hosts."""
        return self.catalog.own_network
