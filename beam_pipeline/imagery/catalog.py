"""Finding the scenes of a tile and year in a catalogue: a STAC API, STAC files on disk, or STAC GeoParquet."""

import contextlib
import dataclasses
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Protocol

from beam_pipeline.imagery.api_catalog import ApiCatalog
from beam_pipeline.imagery.catalog_settings import CatalogInfo, CatalogSettings
from beam_pipeline.imagery.parquet_catalog import ParquetCatalog
from beam_pipeline.imagery.scenes import (
    Scene,
    SceneList,
    SceneNote,
    deduplicate,
    order_scenes,
    without_cloudy,
)
from beam_pipeline.imagery.stac_item import normalise_tile, parse_item, sensing_time, tile_of_item
from beam_pipeline.imagery.static_catalog import StaticCatalog, StaticItem
from beam_pipeline.runtime.faults import PermanentFault, TransientFault
from beam_pipeline.runtime.retries import RetryPolicy
from beam_pipeline.runtime.traffic import Traffic

CATALOGUE_PROFILE = 2
"""Of the rules by which scenes are found, read and told apart; a dataset is of one. Datasets of 1 may lack scenes."""


class Catalog(Protocol):
    """The interface of every kind of catalogue."""

    def check(self, years: Sequence[int] = ()) -> CatalogInfo:
        """Looks at the catalogue before a run for some years; InvalidInputError where it cannot be used."""

    def items(self, tile: str, year: int) -> Iterator[StaticItem]:
        """Yields the items of a tile and year, and maybe others, with the paths of those that lie on disk.

        They come as they are read: whoever takes them makes scenes of them at once, and holds no page.
        """


def open_catalog(
    settings: CatalogSettings, retry: RetryPolicy | None = None, traffic: Traffic | None = None
) -> Catalog:
    """Chooses the kind of catalogue; asks no host.

    Args:
        settings: Of the catalogue.
        retry: How often each request is tried.
        traffic: Paces the requests and counts those that were sent again.

    Raises:
        InvalidInputError: The URL is malformed, or nothing is at the path.
    """
    parquet = settings.parquet_path
    if parquet is not None:
        return ParquetCatalog(settings, parquet, retry or RetryPolicy.default())
    path = settings.local_path
    if path is not None:
        return StaticCatalog(settings, path)
    return ApiCatalog(settings, retry or RetryPolicy.default(), traffic)


def check_catalog(
    settings: CatalogSettings,
    retry: RetryPolicy | None = None,
    traffic: Traffic | None = None,
    years: Sequence[int] = (),
) -> CatalogInfo:
    """Looks at a catalogue before a run.

    Args:
        settings: As `open_catalog`, like all that follows.
        retry: How often an API is asked.
        traffic: Paces the requests.
        years: Those that will be asked for; empty for any.

    Returns:
        What the run must know of it. Searches want its profile in their settings.

    Raises:
        InvalidInputError: The URL is malformed or is no STAC API with item search, the path is missing or
            holds no STAC, or it has no such collection or no item in it.
        TransientFault: The API cannot be reached, or is out of order.
    """
    found = open_catalog(settings, retry, traffic).check(years)
    return dataclasses.replace(found, identity=found.identity + settings.named_buckets)


def find_scenes(
    settings: CatalogSettings,
    tile: str,
    year: int,
    seed: int,
    max_scene_cloud: float | None = None,
    retry: RetryPolicy | None = None,
    traffic: Traffic | None = None,
) -> SceneList:
    """Finds the scenes of a tile and year, in the order in which every cell of the tile walks them.

    What the catalogue gives is filtered by tile and year here in any case.

    Args:
        settings: As `open_catalog`.
        tile: MGRS tile name, with or without the leading zero.
        year: The year, in UTC.
        seed: The run's seed, which draws the order.
        max_scene_cloud: Scenes of more `eo:cloud_cover` (percent) are dropped; one that does not say is kept.
        retry: How often each request is tried.
        traffic: Paces the requests and counts those that were sent again.

    Returns:
        The list; it is empty where the catalogue has nothing.

    Raises:
        InvalidInputError: A static catalogue cannot be read.
        TransientFault: An API or a bucket failed for longer than the retries last.
        PermanentFault: An API refuses, or is no STAC API that can be searched; or STAC GeoParquet is damaged.
    """
    tile = normalise_tile(tile)
    items = open_catalog(settings, retry, traffic).items(tile, year)
    return _scene_list(items, settings, tile, year, seed, max_scene_cloud)


def sign_scenes(
    found: SceneList,
    settings: CatalogSettings,
    retry: RetryPolicy | None = None,
    traffic: Traffic | None = None,
) -> SceneList:
    """Asks the catalogue again for what no file may hold: the secrets in the hrefs of a stored list.

    Signatures expire within the hour, so those of an earlier run would be of no use.

    Args:
        found: What `find_scenes` gave, as it was stored.
        settings: As `find_scenes`, like all that follows.
        retry: How often each request is tried.
        traffic: Paces the requests and counts those that were sent again.

    Returns:
        The same list with hrefs that can be read.

    Raises:
        InvalidInputError: As `find_scenes`.
        PermanentFault: As `find_scenes`.
        TransientFault: As `find_scenes`, or "unsigned": the catalogue has one of the scenes no more. No other date
            may quietly stand in for it.
    """
    if found.is_signed:
        return found
    signed: dict[str, Mapping[str, str]] = {}
    for item, base_href in open_catalog(settings, retry, traffic).items(found.tile, found.year):
        with contextlib.suppress(PermanentFault):
            scene = parse_item(item, found.tile, base_href, settings.reach, settings.all_buckets)
            signed.setdefault(scene.item_id, scene.assets)

    def sign(stored: Scene) -> Scene:
        scene = dataclasses.replace(
            stored, assets=signed.get(stored.item_id, {}), earlier=tuple(map(sign, stored.earlier))
        )
        if scene.without_secrets() != stored:
            raise TransientFault(
                "unsigned",
                f"the catalogue no longer has {stored.item_id} where it was when scenes were listed",
            )
        return scene

    return dataclasses.replace(found, scenes=tuple(map(sign, found.scenes)), is_signed=True)


def _scene_list(
    items: Iterable[StaticItem],
    settings: CatalogSettings,
    tile: str,
    year: int,
    seed: int,
    max_scene_cloud: float | None,
) -> SceneList:
    parsed: list[Scene] = []
    refused: list[SceneNote] = []
    seen: set[str] = set()
    for item, base_href in items:
        item_id = str(item.get("id"))
        sensed = sensing_time(item)
        item_tile = tile_of_item(item)
        if item_id in seen or item_tile not in (tile, None) or (sensed and int(sensed[:4]) != year):
            continue
        seen.add(item_id)
        try:
            if item_tile is None:
                raise PermanentFault("no_tile", "neither a property nor the id says of what tile it is")
            parsed.append(parse_item(item, tile, base_href, settings.reach, settings.all_buckets))
        except PermanentFault as fault:
            refused.append(SceneNote.of(item_id, fault))
    latest = deduplicate(parsed)
    clear = without_cloudy(latest, max_scene_cloud)
    return SceneList(
        tile=tile,
        year=year,
        scenes=tuple(order_scenes(clear, seed, tile, year)),
        refused=tuple(sorted(refused)),
        found=len(seen),
        duplicates=len(parsed) - len(latest),
        dropped_cloud=len(latest) - len(clear),
    )
