"""Makes features and map objects of what an Overpass server answers about a chip.

The answer is read as an extract is read (`extract.py`), so that the same data gives the same features whichever way it
comes: OSMnx itself, which asks (`overpass_server.py`), would make something of a broken multipolygon.

For small runs: public servers bear about 10,000 queries a day, one at a time.
"""

import contextlib
import dataclasses
import datetime
import os
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import osmium
from osmium.osm.mutable import Node, Relation, Way

from beam_pipeline.cells.cell import ChipWindow
from beam_pipeline.labels.chip_boxes import Bounds, lonlat_boxes
from beam_pipeline.labels.clipping import clip_margin
from beam_pipeline.labels.extract import features_of_cells, read_columns
from beam_pipeline.labels.feature import Feature, Found, deduplicate
from beam_pipeline.labels.object_columns import ObjectColumns
from beam_pipeline.labels.ontology import Ontology
from beam_pipeline.labels.overpass_answer import (
    AnsweredNode,
    AnsweredRelation,
    AnsweredWay,
    Element,
)
from beam_pipeline.labels.overpass_server import LOCK, Server, elements_in
from beam_pipeline.labels.store_keys import PADDING_M, keys_for
from beam_pipeline.runtime.cache import cache_folder
from beam_pipeline.runtime.faults import InvalidInputError
from beam_pipeline.runtime.reach import Reach
from beam_pipeline.runtime.retries import RetryPolicy
from beam_pipeline.runtime.traffic import Traffic

RETRY = RetryPolicy(attempts=6, base_s=15.0, cap_s=300.0)
"""A slot of a public server takes minutes to come free, so waits are long."""

_ANTIMERIDIAN = 180.0 - 1e-6  # degrees; what OSMnx projects and back must not land on the other side
_ORDER = {"node": 0, "way": 1, "relation": 2}  # of the elements of an extract


def check_url(url: str) -> None:
    """Checks that an address can be one of an Overpass API; asks nobody.

    Args:
        url: As for `features_of_chip`.

    Raises:
        InvalidInputError: It is no http or https address.
    """
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment:
        raise InvalidInputError(
            f"This is no address of an Overpass API. Received: {url}. Give one such as "
            "https://overpass-api.de/api, to which /interpreter can be added"
        )


def check_cache(cache_dir: str | os.PathLike[str] = "") -> None:
    """Makes the folder in which answers are kept, and looks whether it can be written to.

    Args:
        cache_dir: As for `features_of_chip`.

    Raises:
        InvalidInputError: It cannot.
    """
    cache = Path(cache_dir or cache_folder("overpass"))
    try:
        cache.mkdir(parents=True, exist_ok=True)
        (cache / LOCK).touch()
    except OSError as error:
        raise InvalidInputError(
            f"--overpass_cache cannot be written: {error}. Give a folder that can be. Received: {cache}"
        ) from error


def features_of_chip(
    chip: ChipWindow,
    ontology: Ontology,
    url: str,
    cache_dir: str | os.PathLike[str] = "",
    *,
    date: str = "",
    retry: RetryPolicy = RETRY,
    traffic: Traffic | None = None,
    own_network: bool = False,
) -> Found[Feature]:
    """Asks for the features of a chip, up to the ontology's reach outside of it.

    Args:
        chip: As for `objects_of_chip`.
        ontology: Says which keys are looked at and what is drawn.
        url: As for `objects_of_chip`, and so are all that follow.
        cache_dir: As above.
        date: As above.
        retry: As above.
        traffic: As above.
        own_network: As above.

    Returns:
        The features in metres of the chip's UTM zone, sorted by type and id, none where nothing is mapped; and what
        was left out of the answer, as by `features_of_cells`.

    Raises:
        InvalidInputError: As by `objects_of_chip`, and so are all that follow.
        PermanentFault: As above.
        TransientFault: As above.
    """
    asking = _Asking(url, cache_dir, date, retry, traffic, own_network)
    with _answer(chip, keys_for(ontology), clip_margin(ontology.reach_m), asking) as extract:
        found = Found.all_of(features_of_cells(extract, {0: chip}, ontology))
        return Found(deduplicate(feature for _, feature in found.features), found.dropped)


def objects_of_chip(
    chip: ChipWindow,
    keys: Sequence[str],
    url: str,
    cache_dir: str | os.PathLike[str] = "",
    *,
    date: str = "",
    retry: RetryPolicy = RETRY,
    traffic: Traffic | None = None,
    own_network: bool = False,
) -> Found[ObjectColumns]:
    """Asks for the map objects of a chip and of what lies `PADDING_M` around it.

    Queries go out one at a time: those of this process, and of all processes that share the cache.

    Args:
        chip: The chip.
        keys: Objects bear one of these, sorted.
        url: The server's API, e.g. "https://overpass-api.de/api".
        cache_dir: Where answers are kept, for good: delete the folder to ask anew. "" for the user's cache
            folder.
        date: As of when, e.g. "2019-07-01T00:00:00Z"; "" for now.
        retry: How often and how long a busy server is asked again.
        traffic: Paces the queries and counts those that were sent again.
        own_network: As `Reach`.

    Returns:
        The objects, whole and as `read_columns` gives those of an extract, and what was left out of the answer. Those
        of a relation that lies only partly in what was asked for are whole, too.

    Raises:
        InvalidInputError: `check_url` refuses the address.
        PermanentFault: The server refuses the query, has not the memory for it, or leads to a host that must not be
            asked.
        TransientFault: It was busy, slow or out of reach to the last try.
    """
    with _answer(
        chip, keys, PADDING_M, _Asking(url, cache_dir, date, retry, traffic, own_network)
    ) as extract:
        return Found.all_of(read_columns(extract, keys))


@dataclasses.dataclass(frozen=True)
class _Asking:
    """The server that is asked, and the way in which it is asked; see `objects_of_chip`."""

    url: str
    cache_dir: str | os.PathLike[str]
    date: str
    retry: RetryPolicy
    traffic: Traffic | None
    own_network: bool

    def server(self) -> Server:
        """Returns the server.

        Raises:
            InvalidInputError: `check_url` refuses its address.
        """
        check_url(self.url)
        cache = Path(self.cache_dir or cache_folder("overpass"))
        reach = Reach(self.url, self.own_network)
        return Server(self.url, cache, self.date, self.retry, self.traffic or Traffic(), reach)


@contextlib.contextmanager
def _answer(chip: ChipWindow, keys: Sequence[str], margin_m: float, asking: _Asking) -> Iterator[Path]:
    """Asks for a chip, and yields the answer as an extract, which is gone afterwards."""
    server = asking.server()
    answers: list[Element] = []
    for query_box in _query_boxes(chip, margin_m):
        answers += elements_in(query_box, keys, server)
    with tempfile.TemporaryDirectory() as folder:
        extract = Path(folder) / "answer.osm.pbf"
        _write_extract(answers, extract)
        yield extract


def _query_boxes(chip: ChipWindow, margin_m: float) -> list[Bounds]:
    """Boxes in degrees that cover a chip and its margin; two where it crosses the antimeridian."""
    west, south, east, north = lonlat_boxes([chip], margin_m)[0].tolist()
    if west < -180.0:
        west, east = west + 360.0, east + 360.0
    if east <= _ANTIMERIDIAN:
        return [(max(west, -_ANTIMERIDIAN), south, east, north)]
    return [(west, south, _ANTIMERIDIAN, north), (-_ANTIMERIDIAN, south, east - 360.0, north)]


def _write_extract(elements: list[Element], path: Path) -> None:
    """Writes the elements of an answer as an extract: sorted, each once."""
    once = {(_ORDER[element.type], element.id): element for element in elements}
    with osmium.SimpleWriter(str(path)) as writer:
        for _, element in sorted(once.items()):
            match element:
                case AnsweredNode():
                    writer.add_node(Node(location=(element.lon, element.lat), **_common(element)))
                case AnsweredWay():
                    writer.add_way(Way(nodes=element.nodes, **_common(element)))
                case AnsweredRelation():
                    members = [(member.type[0], member.ref, member.role) for member in element.members]
                    writer.add_relation(Relation(members=members, **_common(element)))


def _common(element: Element) -> dict[str, Any]:
    """Returns what all elements have, as pyosmium takes it."""
    return {
        "id": element.id,
        "version": element.version,
        "timestamp": datetime.datetime.fromtimestamp(element.timestamp, datetime.UTC),
        "tags": element.tags,
    }
