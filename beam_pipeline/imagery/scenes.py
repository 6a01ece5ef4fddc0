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

_STORED = pydantic.ConfigDict(strict=True, extra="forbid")
"""A stored list is read back as it was written, or refused."""

_NOTE_CHARS = 500


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

    __pydantic_config__: ClassVar[pydantic.ConfigDict] = _STORED

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


@dataclasses.dataclass(frozen=True, order=True)
class SceneNote:
    """Why a scene was not used.

    Attributes:
        item_id: Id of the STAC item.
        reason: A short stable word for counting, e.g. "no_scl".
        detail: What was wrong, for people.
    """

    __pydantic_config__: ClassVar[pydantic.ConfigDict] = _STORED

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

    __pydantic_config__: ClassVar[pydantic.ConfigDict] = _STORED

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
