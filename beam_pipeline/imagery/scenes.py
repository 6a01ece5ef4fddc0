"""Sentinel-2 scenes: freed of duplicates, brought into walking order, and listed."""

import dataclasses
import itertools
import json
from collections.abc import Iterable, Mapping
from typing import ClassVar

import pydantic

from beam_pipeline.runtime.faults import PermanentFault
from beam_pipeline.runtime.foreign_text import one_line, without_secrets
from beam_pipeline.runtime.keyed_hash import keyed_hash
from beam_pipeline.runtime.parsing import parse_json

STORED = pydantic.ConfigDict(strict=True, extra="forbid")
"""Validation of stored scenes: they are read back as they were written, or refused."""

_NOTE_CHARS = 500

_LAST_WITH_OWN_TIME = "02.08"
"""Last baseline of which a datastrip's id may hold the sensing time. Source: real items of 33TWN, 2016 to 2018."""


@dataclasses.dataclass(frozen=True)
class Scene:
    """One Sentinel-2 L2A scene of one tile: where its assets are, and how its DN are to be read.

    Attributes:
        item_id: Id of the STAC item.
        tile: MGRS tile name, five characters.
        datetime: Sensing time of the tile, ISO 8601 in UTC with microseconds and "Z".
        datastrip_start: Sensing start of the datastrip, as `datetime`; "" where the item does not say. It tells
            granules apart: the two halves of a tile that is cut by a datastrip's end differ in it, whereas a
            reprocessing keeps it, even where it gives another `datetime`.
        platform: E.g. "sentinel-2a".
        baseline: Processing baseline, e.g. "05.11"; "" where the item does not say.
        generated: When the product was made, as `datetime`; "" where the item does not say.
        cloud_cover: `eo:cloud_cover` in percent; None where the item does not say, or says it is not valid.
        assets: Absolute URL or path of each of `BANDS` and of "SCL".
        boa_add_offset: 0 or -1000, to be added to a DN.
        boa_decision: One of `radiometry.DECISIONS`.
        earlier: Earlier processings of the same granule, the last of them first. They stand in where this one
            cannot be used, and have no `earlier` of their own.
    """

    __pydantic_config__: ClassVar[pydantic.ConfigDict] = STORED

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
    earlier: tuple["Scene", ...] = ()

    @property
    def date(self) -> str:
        """The sensing day, "YYYY-MM-DD" in UTC."""
        return self.datetime[:10]

    def without_secrets(self) -> "Scene":
        """Returns the scene as files may hold it: its hrefs without user, password and query."""
        return dataclasses.replace(
            self,
            assets={band: without_secrets(href) for band, href in self.assets.items()},
            earlier=tuple(scene.without_secrets() for scene in self.earlier),
        )


@dataclasses.dataclass(frozen=True, order=True)
class SceneNote:
    """Why a scene was not used.

    Attributes:
        item_id: Id of the STAC item.
        reason: A short stable word for counting, e.g. "no_scl".
        detail: What was wrong, for people.
    """

    __pydantic_config__: ClassVar[pydantic.ConfigDict] = STORED

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
        duplicates: Number of scenes that are an earlier processing of another; they are in its `earlier`, but for
            those of too much cloud.
        dropped_cloud: Number of scenes left out because of their cloud cover.
        is_signed: Whether the hrefs are whole; if not, what is secret in them was left out when the list was stored,
            and `catalog.sign_scenes` gets it anew.
    """

    __pydantic_config__: ClassVar[pydantic.ConfigDict] = STORED

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
        return json.dumps(dataclasses.asdict(self.without_secrets()), indent=1, sort_keys=True) + "\n"

    @classmethod
    def from_json(cls, text: str | bytes) -> "SceneList":
        """Is the inverse of `to_json`, but for the secrets.

        Raises:
            MalformedError: It is no such list; the message names the field.
        """
        return parse_json(_LIST, text)


_LIST = pydantic.TypeAdapter(SceneList)


def deduplicate(scenes: Iterable[Scene]) -> list[Scene]:
    """Keeps one scene of each granule: highest baseline, then latest generation time, then greatest id.

    A reprocessing has the tile, platform and datastrip start of what it replaces. A scene that does not tell its
    datastrip's start has that of the one granule which was sensed in the same second; where there is none, or several,
    what it has stands for it.

    Args:
        scenes: In any order, without earlier processings.

    Returns:
        The scenes kept, with the others as their `earlier`, sorted by sensing time and id.
    """
    scenes = list(scenes)
    starts: dict[tuple[str, str, str], set[str]] = {}
    for scene in scenes:
        if _tells_start(scene):
            starts.setdefault(_second(scene), set()).add(scene.datastrip_start)

    def granule(scene: Scene) -> tuple[str, str, str]:
        tile, platform, second = _second(scene)
        told = () if _tells_start(scene) else starts.get((tile, platform, second), ())
        start = next(iter(told)) if len(told) == 1 else scene.datastrip_start[:19] or second
        return tile, platform, start[:19]

    def rank(scene: Scene) -> tuple[str, str, str]:
        return scene.baseline, scene.generated, scene.item_id

    kept = []
    for _, group in itertools.groupby(sorted(scenes, key=granule), key=granule):
        newest, *earlier = sorted(group, key=rank, reverse=True)
        kept.append(dataclasses.replace(newest, earlier=tuple(earlier)))
    return sorted(kept, key=lambda scene: (scene.datetime, scene.item_id))


def without_cloudy(scenes: Iterable[Scene], max_scene_cloud: float | None) -> list[Scene]:
    """Drops scenes of more cloud cover than a limit, and such earlier processings of those that stay.

    Args:
        scenes: The scenes.
        max_scene_cloud: The limit in percent; None keeps all, as it does those whose cover is not known.
    """

    def is_clear(scene: Scene) -> bool:
        return max_scene_cloud is None or scene.cloud_cover is None or scene.cloud_cover <= max_scene_cloud

    return [
        dataclasses.replace(scene, earlier=tuple(filter(is_clear, scene.earlier)))
        for scene in scenes
        if is_clear(scene)
    ]


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


def _tells_start(scene: Scene) -> bool:
    """Tells whether the datastrip's start is known for sure: the id of an old one may hold the tile's own time."""
    is_own_time = scene.baseline <= _LAST_WITH_OWN_TIME and scene.datastrip_start[:19] == scene.datetime[:19]
    return bool(scene.datastrip_start) and not is_own_time


def _second(scene: Scene) -> tuple[str, str, str]:
    return scene.tile, scene.platform, scene.datetime[:19]
