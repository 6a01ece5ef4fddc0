"""Writes extracts of any size: many copies of small real ones, spread over the world, each with ids of its own.

The copies are made block by block. A block of the first copy is encoded once, with room for the largest ids; each
other copy has its ids written over, and its place in the two fields of a block that shift all of its nodes.

Source of the format: https://wiki.openstreetmap.org/wiki/PBF_Format
"""

import dataclasses
import itertools
import zlib
from pathlib import Path

import numpy as np

from tests.labels.raw_pbf import framed, held, number, raw_blob, signed, varint

PLANET_IDS = {"n": 13_000_000_000, "w": 1_400_000_000, "r": 19_000_000}
"""The highest ids of OpenStreetMap, about. Source: https://wiki.openstreetmap.org/wiki/Stats"""

BLOCK_OBJECTS = 8000
_ROOM = 5  # bytes of a number that is written over: 35 bits, and one of them is the sign
_COLUMNS, _ROWS = 110, 30
_STEP_LON, _STEP_LAT = 3.1, 3.9
_SCATTER = 1009  # prime: copies that follow each other do not lie beside each other


@dataclasses.dataclass
class _Block:
    """A block of the first copy.

    Attributes:
        content: (B,) uint8.
        places: (P,) where a number is written over.
        firsts: (P,) the numbers of the first copy.
        steps: (P,) what they grow by with each copy.
        is_signed: (P,) whether they are zigzag-encoded.
    """

    content: np.ndarray
    places: np.ndarray
    firsts: np.ndarray
    steps: np.ndarray
    is_signed: np.ndarray

    def of_copy(self, copy):
        content = self.content.copy()
        values = self.firsts + copy * self.steps
        values = np.where(self.is_signed, np.where(values < 0, -2 * values - 1, 2 * values), values)
        for place in range(_ROOM):
            more = 128 if place < _ROOM - 1 else 0
            content[self.places + place] = (values >> (7 * place) & 127) | more
        return content.tobytes()


class _Message:
    """A protobuf message that grows, and remembers where numbers are written over."""

    def __init__(self):
        self.content = bytearray()
        self.numbers = []  # (place, number of the first copy, step, signed)

    def later(self, first, step, is_signed):
        self.numbers.append((len(self.content), first, step, is_signed))
        self.content += bytes(_ROOM)

    def hold(self, field, inner):
        """Puts a message, or bytes, into a field."""
        content = inner.content if isinstance(inner, _Message) else inner
        self.content += varint(field << 3 | 2) + varint(len(content))
        if isinstance(inner, _Message):
            self.numbers += [(len(self.content) + place, *rest) for place, *rest in inner.numbers]
        self.content += content


class _Strings:
    def __init__(self):
        self.index = {"": 0}

    def of(self, text):
        return self.index.setdefault(text, len(self.index))

    def table(self):
        return b"".join(held(1, text.encode()) for text in self.index)


@dataclasses.dataclass
class _Object:
    kind: str
    number: int  # from 1 in its kind
    version: int
    seconds: int
    tags: list
    lonlat: tuple = ()  # in units of 100 nanodegrees
    members: tuple = ()  # (kind, number, role) each


def _objects(paths):
    """Reads all objects of files, numbered anew; what they refer to and is not there gets a number too."""
    import osmium

    numbers = {kind: {} for kind in "nwr"}
    objects = {kind: [] for kind in "nwr"}
    for order, path in enumerate(paths):
        for entity in osmium.FileProcessor(str(path)):
            kind = "n" if entity.is_node() else "w" if entity.is_way() else "r"
            of_kind = numbers[kind]
            made = _Object(
                kind,
                of_kind.setdefault((order, entity.id), len(of_kind) + 1),
                entity.version,
                int(entity.timestamp.timestamp()),
                [(tag.k, tag.v) for tag in entity.tags],
            )
            if kind == "n":
                made.lonlat = (entity.location.x, entity.location.y)
            elif kind == "w":
                made.members = tuple(("n", (order, node.ref), "") for node in entity.nodes)
            else:
                made.members = tuple((m.type, (order, m.ref), m.role) for m in entity.members)
            objects[kind].append(made)
    for made in itertools.chain(objects["w"], objects["r"]):
        made.members = tuple(
            (kind, numbers[kind].setdefault(of, len(numbers[kind]) + 1), role)
            for kind, of, role in made.members
        )
    for of_kind in objects.values():
        of_kind.sort(key=lambda it: it.number)
    return objects, {kind: len(of_kind) + 1 for kind, of_kind in numbers.items()}


def _differences(values):
    values = np.array([0, *values], dtype=np.int64)
    return b"".join(map(signed, np.diff(values).tolist()))


def _dense(nodes, strings, steps):
    ids = _Message()
    ids.later(nodes[0].number, steps["n"], True)
    ids.content += b"".join(
        signed(after.number - before.number) for before, after in itertools.pairwise(nodes)
    )
    texts = b"".join(
        b"".join(varint(strings.of(text)) for pair in node.tags for text in pair) + b"\0" for node in nodes
    )
    message = _Message()
    message.hold(1, ids)
    versions = b"".join(varint(node.version) for node in nodes)
    message.hold(5, held(1, versions) + held(2, _differences(node.seconds for node in nodes)))
    message.hold(8, _differences(node.lonlat[1] for node in nodes))
    message.hold(9, _differences(node.lonlat[0] for node in nodes))
    message.hold(10, texts)
    return message


def _other(made, strings, steps):
    message = _Message()
    message.content += varint(1 << 3)
    message.later(made.number, steps[made.kind], False)
    message.hold(2, b"".join(varint(strings.of(key)) for key, _ in made.tags))
    message.hold(3, b"".join(varint(strings.of(value)) for _, value in made.tags))
    message.hold(4, number(1, varint(made.version)) + number(2, varint(made.seconds)))
    refs = _Message()
    before, step_before = 0, 0
    for kind, ref, _ in made.members:
        if steps[kind] == step_before:
            refs.content += signed(ref - before)
        else:
            refs.later(ref - before, steps[kind] - step_before, True)
        before, step_before = ref, steps[kind]
    if made.kind == "w":
        message.hold(8, refs)
    else:
        message.hold(8, b"".join(varint(strings.of(role)) for *_, role in made.members))
        message.hold(9, refs)
        message.hold(10, bytes("nwr".index(kind) for kind, *_ in made.members))
    return message


def _block(objects, steps):
    strings = _Strings()
    kind = objects[0].kind
    group = _Message()
    if kind == "n":
        group.hold(2, _dense(objects, strings, steps))
    else:
        for made in objects:
            group.hold({"w": 3, "r": 4}[kind], _other(made, strings, steps))
    message = _Message()
    message.hold(1, strings.table())
    message.hold(2, group)
    columns = np.array(message.numbers, dtype=np.int64).reshape(-1, 4).T
    return _Block(np.frombuffer(bytes(message.content), np.uint8), *columns[:3], columns[3].astype(bool))


def _box(bounds):
    """The bounds as a header has them."""
    if bounds is None:
        return b""
    west, south, east, north = (signed(round(degrees * 1e9)) for degrees in bounds)
    return held(1, b"".join(number(field, it) for field, it in enumerate((west, east, north, south), 1)))


def shift_of(copy):
    """Returns how far a copy lies from the first, (degrees of longitude, degrees of latitude)."""
    place = copy * _SCATTER % (_COLUMNS * _ROWS)
    # The files copied lie in Europe: from there it is farther to the west and to the south.
    column, row = place % _COLUMNS, place // _COLUMNS
    return round(column * _STEP_LON - (180 if column else 0), 7), round(-row * _STEP_LAT, 7)


def write_copies(paths, copies, target, bounds=None, highest_ids=PLANET_IDS):
    """Writes copies of files into one, sorted by type and id.

    Args:
        paths: Extracts that share no object.
        copies: How many of all of them together.
        target: The file.
        bounds: (west, south, east, north) in degrees, for its header.
        highest_ids: By kind, up to where the ids are spread.

    Returns:
        The number of nodes.
    """
    objects, spans = _objects(paths)
    steps = {kind: max(spans[kind], highest_ids[kind] // copies) for kind in spans}
    with Path(target).open("wb") as file:
        said = ((4, b"OsmSchema-V0.6"), (4, b"DenseNodes"), (5, b"Sort.Type_then_ID"))
        features = _box(bounds) + b"".join(held(field, text) for field, text in said)
        file.write(raw_blob(b"OSMHeader", features))
        for of_kind in objects.values():
            starts = range(0, len(of_kind), BLOCK_OBJECTS)
            blocks = [_block(of_kind[start : start + BLOCK_OBJECTS], steps) for start in starts]
            for copy in range(copies):
                lon, lat = (round(degrees * 1e9) & (1 << 64) - 1 for degrees in shift_of(copy))
                place = number(19, varint(lat)) + number(20, varint(lon))
                for block in blocks:
                    content = block.of_copy(copy) + place
                    packed = number(2, varint(len(content))) + held(3, zlib.compress(content))
                    file.write(framed(b"OSMData", packed))
    return copies * len(objects["n"])
