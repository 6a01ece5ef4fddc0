"""Themes of blocks without a town: fields, woods, lakes, wetland, rock and sand."""

import numpy as np
from shapely.geometry import LineString, box

from beam_pipeline.sample_world.block import Block
from beam_pipeline.sample_world.shapes import Rect, blob, holed, inset, parts, rectangles, split, within

_FIELD_M2 = 62_000.0
_STAND_M2 = 150_000.0
_HEDGE_M = 4.0
_LANDUSE = {"meadow": "meadow", "orchard": "orchard", "vineyard": "vineyard"}  # any other crop: farmland


def draw_crops(block: Block, crops: tuple[str, ...], mapped_share: float) -> None:
    """Fields with hedges between them.

    Args:
        block: Where.
        crops: Materials to draw from.
        mapped_share: Share of the fields that are mapped one by one; what is not stays unknown.
    """
    wide = block.chance(0.3) and mapped_share > 0 and not {*crops} & {*_LANDUSE}
    for field in split(block.rng, block.rect, _FIELD_M2):
        crop = block.pick(*crops)
        shape = box(*inset(field, _HEDGE_M))
        block.paint("cover", shape, crop)
        if not wide and block.chance(mapped_share):
            block.map(shape, landuse=_LANDUSE.get(crop, "farmland"))
    if wide:  # one outline around all fields, as an import draws it
        block.map(box(*inset(block.rect, 2)), landuse="farmland")


def draw_fields(block: Block, crops: tuple[str, ...], mapped_share: float) -> None:
    """Fields, a farm, a track and a copse; arguments as in `draw_crops`."""
    draw_crops(block, crops, mapped_share)
    copse = blob(block.rng, _somewhere(block, 190, 130))
    block.paint("detail", copse, "broadleaf")
    if block.chance(0.7):
        block.map(copse, natural="wood")
    _draw_farm(block, mapped_share > 0)
    middle = block.rect[1] + block.rng.uniform(0.3, 0.7) * (block.rect[3] - block.rect[1])
    track = LineString([(block.rect[0] - 12, middle), (block.rect[2] + 12, middle)])
    block.lay(track, 3.5, "gravel", highway="track")


def draw_mixed_fields(block: Block) -> None:
    """Arable land and meadows."""
    draw_fields(block, ("wheat", "wheat", "maize", "rapeseed", "fallow", "meadow"), 0.8)


def draw_arable(block: Block) -> None:
    """Arable land alone."""
    draw_fields(block, ("wheat", "maize", "rapeseed", "wheat", "fallow"), 0.85)


def draw_meadows(block: Block) -> None:
    """Meadows."""
    draw_fields(block, ("meadow", "meadow", "meadow", "maize"), 0.8)


def draw_orchards(block: Block) -> None:
    """Orchards and vineyards."""
    draw_fields(block, ("orchard", "vineyard", "meadow"), 0.9)


def draw_unmapped(block: Block) -> None:
    """Fields and wood that no one has mapped yet."""
    draw_fields(block, ("wheat", "maize", "meadow", "fallow"), 0.0)


def draw_forest(block: Block) -> None:
    """A wood of several stands, with clearings that are holes of a multipolygon."""
    whole = box(*inset(block.rect, 6))
    for stand in split(block.rng, block.rect, _STAND_M2):
        block.paint(
            "cover", box(*stand).intersection(whole), block.pick("broadleaf", "conifer", "mixed_wood")
        )
    clearings = [blob(block.rng, _somewhere(block, 260, 190)) for _ in range(int(block.rng.integers(1, 4)))]
    for clearing in clearings:
        block.paint("detail", clearing, block.pick("meadow", "rough_grass"))
        if block.chance(0.5):
            block.map(clearing, landuse="meadow")
    forest = holed(whole, clearings)
    block.map(forest, **({"landuse": "forest"} if block.chance(0.6) else {"natural": "wood"}))
    for share in (0.3, 0.72):
        x = block.rect[0] + share * (block.rect[2] - block.rect[0])
        heights = np.linspace(block.rect[1] - 12, block.rect[3] + 12, 25)
        wave = 50 * np.sin(heights / 230 + 6.28 * block.rng.uniform())
        block.lay(LineString(np.column_stack((x + wave, heights))), 4, "gravel", highway="track")


def draw_lake(block: Block) -> None:
    """A lake with islands, a beach, reeds and a wood around it."""
    block.paint("cover", box(*block.rect), "rough_grass")
    shore = blob(block.rng, within(block.rect, 0.12, 0.12, 0.88, 0.88))
    wood = box(*inset(block.rect, 15)).difference(shore.buffer(70))
    block.paint("cover", wood, "mixed_wood")
    for part in parts(wood):
        block.map(part, natural="wood")
    ring = shore.buffer(45).difference(shore)
    beach = ring.intersection(box(*within(block.rect, 0, 0, 0.42, 0.6)))
    reeds = ring.intersection(box(*within(block.rect, 0.5, 0.35, 1, 1)))
    for shape, material, value in ((beach, "sand", "beach"), (reeds, "reed", "wetland")):
        block.paint("detail", shape, material)
        for part in parts(shape):
            block.map(part, natural=value)
    islands = [
        blob(block.rng, within(block.rect, 0.35, 0.40, 0.47, 0.48)),
        blob(block.rng, within(block.rect, 0.55, 0.55, 0.61, 0.62)),
    ]
    lake = holed(shore, islands)
    block.paint("water", lake, "lake")
    for island in islands:
        block.paint("detail", island, "broadleaf")
    block.map_landmark(lake, natural="water", water="lake")


def draw_heath(block: Block) -> None:
    """Grassland with scrub."""
    block.paint("cover", box(*block.rect), "rough_grass")
    scrubs = [blob(block.rng, inset(piece, 25)) for piece in split(block.rng, block.rect, 260_000)]
    for scrub in scrubs:
        block.paint("detail", scrub, "scrub")
        block.map(scrub, natural=block.pick("scrub", "scrub", "heath"))
    block.map(holed(box(*inset(block.rect, 8)), scrubs), natural="grassland")


def draw_wetland(block: Block) -> None:
    """Reeds and bog with ponds, willows at the edge."""
    block.paint("cover", box(*block.rect), "meadow")
    marsh = blob(block.rng, inset(block.rect, 60), 0.15)
    block.paint("detail", marsh, "reed")
    block.map_landmark(marsh, natural="wetland", wetland=block.pick("reedbed", "marsh", "bog"))
    for _ in range(4):
        pond = blob(block.rng, _somewhere(block, 150, 90))
        block.paint("water", pond, "lake")
        if block.chance(0.8):
            block.map(pond, natural="water", water="pond")
    willows = blob(block.rng, _somewhere(block, 380, 260))
    block.paint("detail", willows, "scrub")
    block.map(willows, natural="scrub")


def draw_rock(block: Block) -> None:
    """Bare rock and scree above grassland."""
    block.paint("cover", box(*block.rect), "rough_grass")
    rock = blob(block.rng, within(block.rect, 0.08, 0.3, 0.92, 0.97), 0.3)
    scree = blob(block.rng, within(block.rect, 0.1, 0.05, 0.75, 0.42), 0.3)
    block.paint("detail", scree, "scree")
    block.paint("detail", rock, "rock")
    # Grassland outranks rock in the labels, so it is drawn around it.
    for part in parts(box(*inset(block.rect, 10)).difference(rock.union(scree))):
        block.map(part, natural="grassland")
    block.map(scree, natural="scree")
    block.map_landmark(rock, natural="bare_rock")
    for _ in range(3):
        pines = blob(block.rng, _somewhere(block, 220, 150))
        block.paint("detail", pines, "conifer")
        block.map(pines, natural="wood")


def draw_sand(block: Block) -> None:
    """Inland dunes with scrub, pines around them."""
    block.paint("cover", box(*block.rect), "conifer")
    dunes = blob(block.rng, inset(block.rect, 90), 0.3)
    block.paint("detail", dunes, "sand")
    block.map_landmark(dunes, natural="sand")
    block.map(holed(box(*inset(block.rect, 10)), [dunes]), landuse="forest")
    for _ in range(6):
        scrub = blob(block.rng, _somewhere(block, 170, 120))
        block.paint("detail", scrub, "scrub")
        block.map(scrub, natural="scrub")


def _somewhere(block: Block, width: float, height: float) -> Rect:
    """Draws a place inside the block for something of that size, half as large to half as large again."""
    scale = block.rng.uniform(0.5, 1.5)
    width, height = width * scale, height * scale
    left, bottom, right, top = inset(block.rect, 20)
    x = left + block.rng.uniform() * max(0.0, right - left - width)
    y = bottom + block.rng.uniform() * max(0.0, top - bottom - height)
    return x, y, x + width, y + height


def _draw_farm(block: Block, mapped: bool) -> None:
    yard = _somewhere(block, 110, 90)
    if box(*yard).intersects(block.water):
        return
    block.paint("detail", box(*yard), "yard")
    if mapped:
        block.map(box(*yard), landuse="farmyard")
    places = [
        within(yard, *share)
        for share in ((0.08, 0.1, 0.4, 0.35), (0.55, 0.1, 0.92, 0.6), (0.1, 0.6, 0.45, 0.9))
    ]
    centres = np.array([((place[0] + place[2]) / 2, (place[1] + place[3]) / 2) for place in places])
    sizes = np.array([(place[2] - place[0], place[3] - place[1]) for place in places])
    houses = rectangles(centres, sizes, np.full(len(places), block.rng.uniform(-0.1, 0.1)))
    kinds = {"farm": 0.3, "barn": 0.3, "yes": 0.25, "house": 0.15}
    block.build(houses, kinds, ("tile_roof", "metal_roof", "slate_roof"), mapped)
    drive = LineString([(yard[0], yard[1]), (block.rect[0] - 12, yard[1] - 25)])
    block.lay(drive, 3.5, "gravel", highway="service")
