"""Sentinel-2 scenes: read from STAC items, freed of duplicates, and brought into walking order."""

import contextlib
import dataclasses
import datetime
import itertools
import json
import re
from collections.abc import Iterable, Mapping
from typing import Any

import pystac

from beam_pipeline.imagery.hrefs import readable_href
from beam_pipeline.imagery.image import BANDS, SCL
from beam_pipeline.imagery.radiometry import decide_offset, find_baseline
from beam_pipeline.runtime.faults import PermanentFault
from beam_pipeline.runtime.foreign_text import one_line, without_secrets
from beam_pipeline.runtime.keyed_hash import keyed_hash

EARTH_SEARCH_V1_KEYS = {
    "B02": "blue",
    "B03": "green",
    "B04": "red",
    "B08": "nir",
    "B05": "rededge1",
    "B06": "rededge2",
    "B07": "rededge3",
    "B8A": "nir08",
    "B11": "swir16",
    "B12": "swir22",
    "B01": "coastal",
    "B09": "nir09",
    "SCL": "scl",
}
"""Asset keys of `sentinel-2-l2a` and `sentinel-2-c1-l2a`.

The `*-jp2` twins that some items have lie in a requester-pays bucket, and are never taken.
Source: https://earth-search.aws.element84.com/v1.
"""

EARTH_SEARCH_V0_KEYS = {band: band for band in (*BANDS, SCL)}
"""Asset keys of `sentinel-s2-l2a-cogs`. Source: https://earth-search.aws.element84.com/v0."""

_TILE = re.compile(r"(?:MGRS-|T)?0?(\d{1,2})([C-HJ-NP-X][A-HJ-NP-Z][A-HJ-NP-V])\Z")
_TILE_IN_ID = re.compile(r"_T?(\d{1,2}[C-HJ-NP-X][A-HJ-NP-Z][A-HJ-NP-V])_")
_NOTE_CHARS = 500
_ID_CHARS = 500
_DATASTRIP_START = re.compile(r"_S(\d{8}T\d{6})(?:_|\Z)")


@dataclasses.dataclass(frozen=True)
class Scene:
    """One Sentinel-2 L2A scene of one tile: where its assets are, and how its DN are to be read.

    Attributes:
        item_id: Id of the STAC item.
        tile: MGRS tile name, five characters.
        datetime: Sensing time of the tile, ISO 8601 in UTC with microseconds and "Z".
        datastrip_start: Sensing start of the datastrip, as `datetime`; "" where the item does not say. The
            two halves of a tile that is cut by a datastrip's end differ in it.
        platform: E.g. "sentinel-2a".
        baseline: Processing baseline, e.g. "05.11"; "" where the item does not say.
        generated: When the product was made, as `datetime`; "" where the item does not say.
        cloud_cover: `eo:cloud_cover` in percent; None where the item does not say, or says it is not valid.
        assets: Absolute URL or path of each of `BANDS` and of "SCL".
        boa_add_offset: 0 or -1000, to be added to a DN.
        boa_decision: One of `radiometry.DECISIONS`.
    """

    item_id: str
    tile: str
    datetime: str
    datastrip_start: str
    platform: str
    baseline: str
    generated: str
    cloud_cover: float | None
    assets: Mapping[str, str]
    boa_add_offset: int
    boa_decision: str

    @property
    def date(self) -> str:
        """The sensing day, "YYYY-MM-DD" in UTC."""
        return self.datetime[:10]

    def without_secrets(self) -> "Scene":
        """Returns the scene as files may hold it: its hrefs without user, password and query."""
        return dataclasses.replace(
            self, assets={band: without_secrets(href) for band, href in self.assets.items()}
        )

    def to_dict(self) -> dict[str, Any]:
        """Returns what JSON can hold."""
        return {**dataclasses.asdict(self), "assets": dict(self.assets)}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> "Scene":
        """Is the inverse of `to_dict`."""
        return cls(**data)


@dataclasses.dataclass(frozen=True, order=True)
class SceneNote:
    """Why a scene was not used.

    Attributes:
        item_id: Id of the STAC item.
        reason: A short stable word for counting, e.g. "no_scl".
        detail: What was wrong, for people.
    """

    item_id: str
    reason: str
    detail: str

    @classmethod
    def of(cls, item_id: str, fault: PermanentFault) -> "SceneNote":
        """Notes a fault; of what a foreign item says, only printable text is kept, and not without end."""
        return cls(one_line(item_id, _NOTE_CHARS), fault.reason, one_line(fault.detail, _NOTE_CHARS))


@dataclasses.dataclass(frozen=True)
class SceneList:
    """The scenes of one tile and year, as every cell of the tile walks them.

    `found` = scenes + refused + duplicates + dropped_cloud.

    Attributes:
        tile: MGRS tile name, five characters.
        year: The year, in UTC.
        scenes: In walking order.
        refused: Items that cannot be used, and why, sorted by item id.
        found: Number of items of the tile and year that the catalogue has.
        duplicates: Number of scenes left out because a later processing of the same sensing is there.
        dropped_cloud: Number of scenes left out because of their cloud cover.
        is_signed: Whether the hrefs are whole; if not, what is secret in them was left out when the list was stored,
            and `catalog.sign_scenes` gets it anew.
    """

    tile: str
    year: int
    scenes: tuple[Scene, ...]
    refused: tuple[SceneNote, ...]
    found: int
    duplicates: int
    dropped_cloud: int
    is_signed: bool = True

    def without_secrets(self) -> "SceneList":
        """Returns the list as files may hold it."""
        scenes = tuple(scene.without_secrets() for scene in self.scenes)
        return dataclasses.replace(self, scenes=scenes, is_signed=self.is_signed and scenes == self.scenes)

    def to_json(self) -> str:
        """Returns JSON text with sorted keys, the same for equal lists, of `without_secrets`."""
        stored = self.without_secrets()
        data = {**vars(stored), "scenes": [scene.to_dict() for scene in stored.scenes]}
        data["refused"] = [dataclasses.asdict(note) for note in self.refused]
        return json.dumps(data, indent=1, sort_keys=True) + "\n"

    @classmethod
    def from_json(cls, text: str) -> "SceneList":
        """Is the inverse of `to_json`, but for the secrets."""
        data = json.loads(text)
        data["scenes"] = tuple(Scene.from_dict(scene) for scene in data["scenes"])
        data["refused"] = tuple(SceneNote(**note) for note in data["refused"])
        return cls(**data)


def normalise_tile(name: str) -> str:
    """Brings a tile name to its five characters: "5QKB", "T05QKB" and "MGRS-5QKB" become "05QKB".

    Raises:
        ValueError: It is no tile name.
    """
    match = _TILE.match(name.strip().upper())
    if match is None or not 1 <= int(match[1]) <= 60:
        raise ValueError(f'A tile name has a zone and three letters, e.g. "05QKB". Received: {name!r}')
    return f"{int(match[1]):02d}{match[2]}"


def tile_of_item(item: Mapping[str, Any]) -> str | None:
    """Finds the tile of a STAC item, by its properties, else by its id.

    Args:
        item: The item as a dict.

    Returns:
        Five characters, or None where the item does not say.
    """
    properties = _properties(item)
    names = [properties.get("grid:code"), properties.get("s2:mgrs_tile")]
    for prefix in ("mgrs", "sentinel"):
        parts = [properties.get(f"{prefix}:{part}") for part in ("utm_zone", "latitude_band", "grid_square")]
        names.append("".join(map(str, parts)) if all(parts) else None)
    match = _TILE_IN_ID.search(str(item.get("id", "")))
    names.append(match[1] if match else None)
    for name in names:
        if isinstance(name, str):
            with contextlib.suppress(ValueError):
                return normalise_tile(name)
    return None


def sensing_time(item: Mapping[str, Any]) -> str:
    """Returns the sensing time of a STAC item, ISO 8601 in UTC with microseconds; "" where it has none."""
    properties = _properties(item)
    return _utc(properties.get("datetime") or properties.get("start_datetime"))


def parse_item(
    item: Mapping[str, Any] | pystac.Item, tile: str, base_href: str = "", api_url: str = ""
) -> Scene:
    """Reads a STAC item of one of the known profiles.

    Args:
        item: An item as a dict, or a pystac item.
        tile: The tile that it must be of, five characters.
        base_href: URL or path of the item itself, against which relative hrefs are resolved. Without it the
            item's "self" link is taken if it leads to the web; the item may then name nothing on disk.
        api_url: URL of the API that gave the item; without it no inner host may be named.

    Returns:
        The scene.

    Raises:
        PermanentFault: The item cannot be used: "other_tile", "no_datetime", "no_scl", "missing_asset",
            "unreadable_href", "unknown_baseline", "bad_offset_flag" or "bad_item".
    """
    if isinstance(item, pystac.Item):
        item = item.to_dict(transform_hrefs=False)
    item_id, properties, assets = item.get("id"), item.get("properties"), item.get("assets")
    if not isinstance(item_id, str) or not isinstance(properties, Mapping) or not isinstance(assets, Mapping):
        raise PermanentFault("bad_item", "a STAC item has an id, properties and assets")
    platform = properties.get("platform", "")
    # Both are stored; what no file can hold as text must not get that far.
    if not all(
        isinstance(it, str) and it.isprintable() and len(it) <= _ID_CHARS for it in (item_id, platform)
    ):
        raise PermanentFault(
            "bad_item", f"id and platform must be printable text of up to {_ID_CHARS} characters"
        )
    if tile_of_item(item) != tile:
        raise PermanentFault("other_tile", f"the item is of tile {tile_of_item(item)}, not {tile}")
    sensed = sensing_time(item)
    if not sensed:
        raise PermanentFault("no_datetime", "neither datetime nor start_datetime is a time")
    base_href = base_href or _self_href(item)
    offset, decision = decide_offset(properties, item_id)
    return Scene(
        item_id=item_id,
        tile=tile,
        datetime=sensed,
        datastrip_start=_datastrip_start(properties, sensed),
        platform=platform.lower(),
        baseline=find_baseline(properties, item_id),
        generated=next(
            (
                when
                for key in ("s2:generation_time", "processing:datetime", "created", "updated")
                if (when := _utc(properties.get(key)))
            ),
            "",
        ),
        cloud_cover=_cloud_cover(properties),
        assets=_asset_hrefs(assets, base_href, api_url),
        boa_add_offset=offset,
        boa_decision=decision,
    )


def deduplicate(scenes: Iterable[Scene]) -> tuple[list[Scene], list[Scene]]:
    """Keeps one scene of each sensing: highest baseline, then latest generation time, then greatest id.

    A reprocessed scene shares tile, platform and datastrip start; where an item does not say when its
    datastrip starts, the sensing time to the second. Different datastrips of one date are two scenes.

    Args:
        scenes: In any order.

    Returns:
        (kept, dropped), each sorted by sensing time and id.
    """
    scenes = list(scenes)
    starts = {
        (scene.tile, scene.platform, scene.datetime[:19]): scene.datastrip_start
        for scene in sorted(scenes, key=_by_time)
        if scene.datastrip_start
    }

    def sensing(scene: Scene) -> tuple[str, str, str]:
        second = scene.datetime[:19]
        start = scene.datastrip_start or starts.get((scene.tile, scene.platform, second), second)
        return scene.tile, scene.platform, start

    def rank(scene: Scene) -> tuple[str, str, str]:
        return scene.baseline, scene.generated, scene.item_id

    kept: list[Scene] = []
    dropped: list[Scene] = []
    for _, group in itertools.groupby(sorted(scenes, key=sensing), key=sensing):
        *others, best = sorted(group, key=rank)
        kept.append(best)
        dropped += others
    return sorted(kept, key=_by_time), sorted(dropped, key=_by_time)


def order_scenes(scenes: Iterable[Scene], seed: int, tile: str, year: int) -> list[Scene]:
    """Brings scenes into the order in which every cell of the tile walks them.

    Months come in keyed order, scenes within a month in keyed order, and one is taken from each month in
    turn, so that clear-sky seasons are not favoured.

    Args:
        scenes: Of one tile and year, in any order; ids are unique.
        seed: The run's seed.
        tile: MGRS tile name.
        year: The year.

    Returns:
        The same scenes; the order depends on nothing but the seed, tile, year and the scenes' ids and months.
    """
    months: dict[int, list[Scene]] = {}
    for scene in scenes:
        months.setdefault(int(scene.datetime[5:7]), []).append(scene)
    queues = [
        sorted(
            months[month],
            key=lambda scene: (keyed_hash(seed, "scene order", tile, year, scene.item_id), scene.item_id),
        )
        for month in sorted(
            months, key=lambda month: (keyed_hash(seed, "month order", tile, year, month), month)
        )
    ]
    rounds = itertools.zip_longest(*queues)
    return [scene for in_turn in rounds for scene in in_turn if scene is not None]


def _by_time(scene: Scene) -> tuple[str, str]:
    return scene.datetime, scene.item_id


def _utc(value: object) -> str:
    """Returns ISO 8601 in UTC with microseconds, or "" for what is no time."""
    try:
        when = datetime.datetime.fromisoformat(str(value))
        if when.tzinfo is None:  # STAC demands a zone; where it is missing UTC is what is meant
            when = when.replace(tzinfo=datetime.UTC)
        # Not strftime, which writes the year 999 with three digits.
        return when.astimezone(datetime.UTC).replace(tzinfo=None).isoformat(timespec="microseconds") + "Z"
    except (ValueError, OverflowError):  # the latter where a zone leads out of the years 1 to 9999
        return ""


def _datastrip_start(properties: Mapping[str, Any], sensed: str) -> str:
    match = _DATASTRIP_START.search(str(properties.get("s2:datastrip_id", "")))
    start = _utc(match[1]) if match else ""
    # Up to about baseline 02.08 the id holds the tile's own sensing time: it says nothing of the datastrip.
    return "" if start[:19] == sensed[:19] else start


def _cloud_cover(properties: Mapping[str, Any]) -> float | None:
    # v0 items whose cloud cover was never computed say 0 and, beside it, that it is not valid.
    if properties.get("sentinel:valid_cloud_cover") is False:
        return None
    cover = properties.get("eo:cloud_cover")
    if isinstance(cover, bool) or not isinstance(cover, int | float) or not 0 <= cover <= 100:
        return None
    return float(cover)


def _self_href(item: Mapping[str, Any]) -> str:
    hrefs = (str(link.get("href", "")) for link in links_of(item) if link.get("rel") == "self")
    return next((href for href in hrefs if href.startswith(("https://", "http://"))), "")


def links_of(content: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Returns the links of anything STAC that are links."""
    links = content.get("links")
    return [link for link in links if isinstance(link, Mapping)] if isinstance(links, list) else []


def _properties(item: Mapping[str, Any]) -> Mapping[str, Any]:
    properties = item.get("properties")
    return properties if isinstance(properties, Mapping) else {}


def _asset_hrefs(assets: Mapping[str, Any], base_href: str, api_url: str) -> dict[str, str]:
    keys = next((keys for keys in (EARTH_SEARCH_V1_KEYS, EARTH_SEARCH_V0_KEYS) if keys[SCL] in assets), None)
    if keys is None:
        raise PermanentFault("no_scl", f"there is no scl asset among: {', '.join(sorted(assets))}")
    missing = [keys[band] for band in BANDS if keys[band] not in assets]
    if missing:
        raise PermanentFault("missing_asset", f"assets that are missing: {', '.join(missing)}")
    hrefs = {}
    for band in (*BANDS, SCL):
        asset = assets[keys[band]]
        href = asset.get("href") if isinstance(asset, Mapping) else None
        if not isinstance(href, str):
            raise PermanentFault("bad_item", f"the asset {keys[band]} has no href")
        hrefs[band] = readable_href(href, base_href, api_url)
    return hrefs
