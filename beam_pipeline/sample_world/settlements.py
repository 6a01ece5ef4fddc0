"""Themes of blocks that people built: towns, works, shops, an airport, a quarry, barracks, a golf course."""

import numpy as np
import numpy.typing as npt
import shapely
from shapely import affinity
from shapely.geometry import LineString, Point, Polygon, box

from beam_pipeline.sample_world.block import Block
from beam_pipeline.sample_world.countryside import draw_crops
from beam_pipeline.sample_world.shapes import Rect, blob, inset, parts, rectangles, ribbon, split, within

_HOUSE_KINDS = {"house": 0.5, "yes": 0.32, "detached": 0.1, "apartments": 0.08}
_TOWN_ROOFS = ("tile_roof", "tile_roof", "slate_roof", "metal_roof")
_HALL_ROOFS = ("metal_roof", "slate_roof", "concrete")
_UNMAPPED_TOWNS = 0.15


def draw_town(block: Block) -> None:
    """Streets with houses on both sides, shops in the middle, a park and a pitch."""
    rng = block.rng
    mapped = not block.chance(_UNMAPPED_TOWNS)
    draw_crops(block, ("meadow", "wheat", "maize", "orchard", "meadow"), 0.6)
    outline = blob(rng, inset(block.rect, rng.uniform(20, 130)), 0.12)
    block.paint("cover", outline, "garden")
    block.map(outline, landuse="residential")
    centre = within(block.rect, 0.42, 0.42, 0.58, 0.55)
    park = blob(rng, within(block.rect, 0.2, 0.6, 0.38, 0.78))
    pitch = box(*within(block.rect, 0.64, 0.24, 0.715, 0.285))
    kept_free = shapely.union_all([box(*centre), park.buffer(12), pitch.buffer(12)])

    left, bottom, right, top = block.rect
    cross_streets = np.arange(left + rng.uniform(40, 90), right, rng.uniform(210, 280))
    streets = np.arange(bottom + rng.uniform(40, 70), top, rng.uniform(92, 118))
    lines = [LineString([(left, y), (right, y)]) for y in streets]
    lines += [LineString([(x, bottom), (x, top)]) for x in cross_streets]
    for line in lines:
        for part in shapely.get_parts(line.intersection(outline).difference(kept_free)):
            kind = "living_street" if block.chance(0.06) else "residential"
            block.lay(part, 6.5, "asphalt", highway=kind)
    houses = _house_rows(block, streets)
    free = ~shapely.intersects(
        houses, kept_free.union(LineString(_hooks(cross_streets, bottom, top)).buffer(6))
    )
    block.build(houses[free & shapely.contains(outline, houses)], _HOUSE_KINDS, _TOWN_ROOFS, mapped)

    block.paint("detail", park, "lawn")
    block.map(park, leisure="park")
    for _ in range(3):
        grove = blob(rng, within(park.bounds, *(rng.uniform(0.1, 0.5, 2)), *(rng.uniform(0.6, 0.9, 2))))
        block.paint("detail", grove.intersection(park), "broadleaf")
    block.paint("detail", pitch, "lawn")
    block.map(pitch, leisure="pitch", sport="soccer")
    _draw_shops(block, centre, "retail", mapped)
    road = LineString([(left - 12, streets[len(streets) // 2]), (right + 12, streets[len(streets) // 2])])
    block.lay(road, 7.5, "asphalt", highway="tertiary")


def draw_works(block: Block) -> None:
    """Industry: halls, tanks, a waste-water plant."""
    site = box(*inset(block.rect, 40))
    block.paint("cover", site, "yard")
    block.map_landmark(site, landuse="industrial")
    lots = split(block.rng, inset(block.rect, 60), 42_000)
    for lot in lots[:-2]:
        _draw_halls(block, lot, {"industrial": 0.45, "warehouse": 0.3, "yes": 0.25})
        edge = LineString([(lot[0], lot[1]), (lot[2], lot[1])])
        block.lay(edge, 6, "asphalt", highway="service")
    tank_lot, plant = lots[-2], lots[-1]
    for x in np.arange(tank_lot[0] + 30, tank_lot[2] - 25, 55):
        for y in np.arange(tank_lot[1] + 30, tank_lot[3] - 25, 55):
            tank = Point(x, y).buffer(16, quad_segs=5)
            block.paint("roof", tank, "metal_roof")
            block.map(tank, man_made="storage_tank")
    block.paint("detail", box(*plant), "lawn")
    block.map(box(*plant), man_made="wastewater_plant")
    for x in np.arange(plant[0] + 35, plant[2] - 30, 70):
        basin = Point(x, (plant[1] + plant[3]) / 2).buffer(24, quad_segs=6)
        block.paint("water", basin, "river")


def draw_shops(block: Block) -> None:
    """A shopping area with large roofs and car parks, fields behind it."""
    draw_crops(block, ("meadow", "wheat"), 0.6)
    _draw_shops(block, within(block.rect, 0.12, 0.15, 0.8, 0.7), block.pick("retail", "commercial"), True)


def draw_airport(block: Block) -> None:
    """An airport: grass, a runway, a taxiway, an apron and a terminal."""
    site = box(*inset(block.rect, 25))
    block.paint("cover", site, "lawn")
    block.map_landmark(site, aeroway="aerodrome", name="Made-up Airport")
    left, bottom, right, top = inset(block.rect, 60)
    runway = LineString([(left, bottom + 0.2 * (top - bottom)), (right, top - 0.35 * (top - bottom))])
    taxiway = affinity.translate(runway, -45, 140)
    block.canvas.paint("detail", ribbon(runway, 45), "asphalt", 3, straight=True)
    block.canvas.map(runway, {"aeroway": "runway", "surface": "asphalt"}, straight=True)
    block.canvas.paint("detail", ribbon(taxiway, 20), "concrete", 2, straight=True)
    block.canvas.map(taxiway, {"aeroway": "taxiway"}, straight=True)
    apron = box(*within(block.rect, 0.32, 0.7, 0.7, 0.86))
    block.paint("detail", apron, "concrete")
    block.map(apron, aeroway="apron")
    terminal = box(*within(block.rect, 0.40, 0.87, 0.62, 0.91))
    block.paint("roof", terminal, "metal_roof")
    block.map(terminal, aeroway="terminal", building="yes")


def draw_quarry(block: Block) -> None:
    """A quarry with a pond in its pit, in a wood."""
    wood = box(*inset(block.rect, 6))
    block.paint("cover", wood, "mixed_wood")
    pit = blob(block.rng, within(block.rect, 0.2, 0.18, 0.85, 0.8), 0.25)
    for part in parts(wood.difference(pit.buffer(12))):
        block.map(part, landuse="forest")
    block.paint("detail", pit, "quarry")
    block.map_landmark(pit, landuse="quarry")
    pond = blob(block.rng, within(block.rect, 0.42, 0.4, 0.6, 0.52))
    block.paint("water", pond, "lake")
    block.map(pond, natural="water")
    block.lay(
        LineString([(block.rect[0] - 12, block.rect[1] + 90), pit.centroid.coords[0]]),
        6,
        "gravel",
        highway="service",
    )


def draw_barracks(block: Block) -> None:
    """A military area: barracks, a firing range, rough ground."""
    area = blob(block.rng, inset(block.rect, 30), 0.1)
    block.paint("cover", area, "rough_grass")
    block.map_landmark(area, landuse="military")
    for piece in split(block.rng, inset(block.rect, 200), 90_000):
        block.paint(
            "detail",
            blob(block.rng, inset(piece, 20)).intersection(area),
            block.pick("scrub", "conifer", "gravel"),
        )
    rows = within(block.rect, 0.25, 0.25, 0.5, 0.5)
    block.paint("detail", box(*rows), "yard")
    block.map(box(*rows), military="barracks")
    _draw_halls(block, rows, {"barracks": 0.6, "yes": 0.4})
    firing = box(*within(block.rect, 0.6, 0.3, 0.68, 0.75))
    block.paint("detail", firing, "gravel")
    block.map(firing, military="range")


def draw_golf_course(block: Block) -> None:
    """A golf course: fairways, groves, bunkers, a pond."""
    rng = block.rng
    course = blob(rng, inset(block.rect, 40), 0.15)
    block.paint("cover", course, "rough_grass")
    block.map_landmark(course, leisure="golf_course")
    for piece in split(rng, inset(block.rect, 150), 70_000):
        fairway = blob(rng, inset(piece, 25)).intersection(course)
        block.paint("detail", fairway, "lawn")
        corner = within(piece, 0.0, 0.0, 0.3, 0.3)
        block.paint("detail", blob(rng, corner).intersection(course), block.pick("broadleaf", "conifer"))
        bunker = blob(rng, within(piece, 0.6, 0.6, 0.72, 0.7)).intersection(course)
        block.paint("detail", bunker, "sand")
        for part in parts(bunker):
            block.map(part, golf="bunker", natural="sand")
    pond = blob(rng, within(block.rect, 0.45, 0.3, 0.58, 0.4))
    block.paint("water", pond, "lake")
    block.map(pond, natural="water", water="pond")


def _house_rows(block: Block, streets: npt.NDArray[np.float64]) -> npt.NDArray[np.object_]:
    """Places houses along both sides of west-east streets."""
    rng = block.rng
    along = np.arange(block.rect[0] + 15, block.rect[2] - 15, 23.0)
    x = np.tile(along, 2 * len(streets)) + rng.uniform(-4, 4, 2 * len(streets) * len(along))
    y = np.repeat(np.concatenate((streets - 17, streets + 17)), len(along)) + rng.uniform(-3, 3, len(x))
    kept = rng.uniform(size=len(x)) < 0.88
    sizes = np.column_stack((rng.uniform(9, 16, len(x)), rng.uniform(8, 12, len(x))))
    return rectangles(np.column_stack((x, y))[kept], sizes[kept], rng.uniform(-0.06, 0.06, len(x))[kept])


def _hooks(columns: npt.NDArray[np.float64], bottom: float, top: float) -> list[tuple[float, float]]:
    """Joins the cross streets to one line, so that one test finds the houses on them."""
    hooks: list[tuple[float, float]] = []
    for index, x in enumerate(columns):
        ends = (bottom - 100, top + 100) if index % 2 else (top + 100, bottom - 100)
        hooks += [(float(x), ends[0]), (float(x), ends[1])]
    return hooks


def _draw_halls(block: Block, lot: Rect, kinds: dict[str, float]) -> None:
    """One or two large roofs on a lot."""
    width, height = lot[2] - lot[0], lot[3] - lot[1]
    shares = [(0.27, 0.5), (0.73, 0.5)] if width > height else [(0.5, 0.27), (0.5, 0.73)]
    centres = np.array([(lot[0] + u * width, lot[1] + v * height) for u, v in shares])
    fill = (0.36, 0.62) if width > height else (0.62, 0.36)
    sizes = np.tile((fill[0] * width, fill[1] * height), (2, 1)) * block.rng.uniform(0.6, 1.0, (2, 2))
    block.build(rectangles(centres, sizes, np.zeros(2)), kinds, _HALL_ROOFS)


def _draw_shops(block: Block, area: Rect, landuse: str, mapped: bool) -> None:
    """Large roofs, each with its car park."""
    ground: Polygon = box(*area)
    block.paint("detail", ground, "yard")
    block.map(ground, landuse=landuse)
    for lot in split(block.rng, inset(area, 8), 26_000):
        hall, cars = within(lot, 0.08, 0.1, 0.5, 0.9), within(lot, 0.55, 0.1, 0.95, 0.9)
        middle = np.array([((hall[0] + hall[2]) / 2, (hall[1] + hall[3]) / 2)])
        size = np.array([(hall[2] - hall[0], hall[3] - hall[1])])
        roofs = rectangles(middle, size, np.zeros(1))
        block.build(roofs, {"retail": 0.5, "commercial": 0.2, "yes": 0.3}, _HALL_ROOFS, mapped)
        block.paint("detail", box(*cars), "asphalt")
        block.map(box(*cars), amenity="parking")
