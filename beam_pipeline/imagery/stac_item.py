"""STAC items of the known profiles, read into scenes; an item is a stranger's, and is never guessed at."""

import contextlib
import datetime
import re
from collections.abc import Mapping
from typing import Annotated, Any

import pydantic
import pystac

from beam_pipeline.imagery.buckets import PUBLIC_BUCKETS, require_free
from beam_pipeline.imagery.hrefs import readable_href
from beam_pipeline.imagery.image import BANDS, SCL
from beam_pipeline.imagery.radiometry import decide_offset, find_baseline
from beam_pipeline.imagery.scenes import Scene
from beam_pipeline.runtime.faults import PermanentFault
from beam_pipeline.runtime.parsing import MalformedError, parse_object
from beam_pipeline.runtime.reach import WEB, Reach

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

PROFILES = (EARTH_SEARCH_V1_KEYS, EARTH_SEARCH_V0_KEYS)
"""Of the asset keys that are known, the first whose SCL an item has is taken."""

TILE_PROPERTIES = (
    ("grid:code",),
    ("s2:mgrs_tile",),
    ("mgrs:utm_zone", "mgrs:latitude_band", "mgrs:grid_square"),
    ("sentinel:utm_zone", "sentinel:latitude_band", "sentinel:grid_square"),
)
"""Properties by which items say of what tile they are, whole or in parts; the first that is a tile's name holds."""

_TILE = re.compile(r"(?:MGRS-|T)?0?(\d{1,2})([C-HJ-NP-X][A-HJ-NP-Z][A-HJ-NP-V])\Z")
_TILE_IN_ID = re.compile(r"_T?(\d{1,2}[C-HJ-NP-X][A-HJ-NP-Z][A-HJ-NP-V])_")
_PLATFORM_IN_NAME = re.compile(r"S2([A-D])_")
_MOST_CHARS = 500
_DATASTRIP_START = re.compile(r"_S(\d{8}T\d{6})(?:_|\Z)")
_GRANULE_START = re.compile(r"(?:L2A_T\d{2}[A-Z]{3}_A\d{6}|S2[A-Z]_T\d{2}[A-Z]{3})_(\d{8}T\d{6})(?:_|\Z)")
"""In "L2A_T33TWN_A008256_20181005T095720" and Collection 1's "S2B_T24MUA_20250731T130245_L2A". The long form of a
granule's id, "S2B_OPER_MSI_L2A_TL_...", holds when it was made."""


def _printable(text: str) -> str:
    if not text.isprintable():
        raise ValueError("must be printable text")
    return text


_Shown = Annotated[str, pydantic.Field(max_length=_MOST_CHARS), pydantic.AfterValidator(_printable)]
"""Text that is stored; what no file can hold as text must not get that far."""


class _Item(pydantic.BaseModel):
    """The properties that every used item must have; further properties are read one by one, each as it is needed."""

    model_config = pydantic.ConfigDict(frozen=True, strict=True)

    id: _Shown
    properties: dict[Any, Any]
    assets: dict[Any, Any]
    platform: _Shown | None = pydantic.Field(
        None, validation_alias=pydantic.AliasPath("properties", "platform")
    )


class _Asset(pydantic.BaseModel):
    """The fields that a used asset must have; an item may have others, which are never looked at."""

    model_config = pydantic.ConfigDict(frozen=True, strict=True)

    href: str


_ITEM = pydantic.TypeAdapter(_Item)
_ASSET = pydantic.TypeAdapter(_Asset)


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
    said = ([properties.get(key) for key in keys] for keys in TILE_PROPERTIES)
    names = ["".join(map(str, parts)) for parts in said if all(parts)]
    match = _TILE_IN_ID.search(str(item.get("id", "")))
    names += [match[1]] if match else []
    for name in names:
        with contextlib.suppress(ValueError):
            return normalise_tile(name)
    return None


def sensing_time(item: Mapping[str, Any]) -> str:
    """Returns the sensing time of a STAC item, ISO 8601 in UTC with microseconds; "" where it has none."""
    properties = _properties(item)
    return _utc(properties.get("datetime")) or _utc(properties.get("start_datetime"))


def parse_item(
    item: Mapping[str, Any] | pystac.Item,
    tile: str,
    base_href: str = "",
    reach: Reach = WEB,
    buckets: Mapping[str, str] = PUBLIC_BUCKETS,
) -> Scene:
    """Reads a STAC item of one of the known profiles.

    Args:
        item: An item as a dict, or a pystac item.
        tile: The tile that it must be of, five characters.
        base_href: URL or path of the item itself, against which relative hrefs are resolved. Without it the
            item's "self" link is taken if it leads to the web; the item may then name nothing on disk.
        reach: What the catalogue that gave the item may name, by default no inner host.
        buckets: As `readable_href`.

    Returns:
        The scene.

    Raises:
        PermanentFault: The item cannot be used: "other_tile", "no_datetime", "no_scl", "missing_asset",
            "unreadable_href", "unknown_baseline", "unofficial_baseline", "bad_offset_flag" or "bad_item".
    """
    if isinstance(item, pystac.Item):
        item = item.to_dict(transform_hrefs=False)
    try:
        read = parse_object(_ITEM, item)
    except MalformedError as error:
        raise PermanentFault("bad_item", str(error)) from error
    properties = read.properties
    if tile_of_item(item) != tile:
        raise PermanentFault("other_tile", f"the item is of tile {tile_of_item(item)}, not {tile}")
    sensed = sensing_time(item)
    if not sensed:
        raise PermanentFault("no_datetime", "neither datetime nor start_datetime is a time")
    base_href = base_href or _self_href(item)
    offset, decision = decide_offset(properties, read.id)
    return Scene(
        item_id=read.id,
        tile=tile,
        datetime=sensed,
        datastrip_start=_datastrip_start(properties, read.id),
        platform=(read.platform or _platform_in_name(properties, read.id)).lower(),
        baseline=find_baseline(properties, read.id),
        generated=next(
            (
                when
                for key in ("s2:generation_time", "processing:datetime", "created", "updated")
                if (when := _utc(properties.get(key)))
            ),
            "",
        ),
        cloud_cover=_cloud_cover(properties),
        assets={
            band: readable_href(href, base_href, reach, buckets)
            for band, href in _asset_hrefs(read.assets, properties).items()
        },
        boa_add_offset=offset,
        boa_decision=decision,
    )


def _utc(value: object) -> str:
    """Returns ISO 8601 in UTC with microseconds, or "" for what is no time."""
    if not isinstance(value, str):
        return ""
    try:
        # RFC 3339 has "z" for "Z", and "t" for "T".
        when = datetime.datetime.fromisoformat(value.strip().upper())
        if when.tzinfo is None:  # STAC demands a zone; where it is missing UTC is what is meant
            when = when.replace(tzinfo=datetime.UTC)
        # Not strftime, which writes the year 999 with three digits.
        return when.astimezone(datetime.UTC).replace(tzinfo=None).isoformat(timespec="microseconds") + "Z"
    except (ValueError, OverflowError):  # the latter where a zone leads out of the years 1 to 9999
        return ""


def _datastrip_start(properties: Mapping[str, Any], item_id: str) -> str:
    """Returns when the datastrip of an item's granule starts, by the id of either; "" where none says it."""
    names = (properties.get("s2:granule_id"), properties.get("s2:tile_id"), item_id)
    found = (
        _DATASTRIP_START.search(str(properties.get("s2:datastrip_id", ""))),
        *(_GRANULE_START.search(str(name)) for name in names),
    )
    return next((start for match in found if match and (start := _utc(match[1]))), "")


def _platform_in_name(properties: Mapping[str, Any], item_id: str) -> str:
    """Returns the platform that ESA's name of the product, or an id like it, begins with; "" for any other."""
    names = (properties.get("s2:product_uri"), properties.get("sentinel:product_id"), item_id)
    found = (_PLATFORM_IN_NAME.match(str(name)) for name in names)
    return next((f"sentinel-2{match[1]}" for match in found if match), "")


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


def _asset_hrefs(assets: Mapping[str, Any], properties: Mapping[str, Any]) -> dict[str, str]:
    """Returns the href of each band and of SCL as the item has it."""
    keys = next((keys for keys in PROFILES if keys[SCL] in assets), None)
    if keys is None:
        raise PermanentFault("no_scl", f"there is no scl asset among: {', '.join(sorted(assets))}")
    missing = [keys[band] for band in BANDS if keys[band] not in assets]
    if missing:
        raise PermanentFault("missing_asset", f"assets that are missing: {', '.join(missing)}")
    hrefs = {}
    for band in (*BANDS, SCL):
        try:
            asset = parse_object(_ASSET, assets[keys[band]])
        except MalformedError as error:
            raise PermanentFault("bad_item", f"the asset {keys[band]} has no href") from error
        require_free(asset.href, assets[keys[band]], properties)
        hrefs[band] = asset.href
    return hrefs
