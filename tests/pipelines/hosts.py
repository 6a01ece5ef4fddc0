"""The sample world behind a STAC API and an HTTP server."""

import contextlib
import copy
import dataclasses
import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pystac

from beam_pipeline.build_dataset import main
from beam_pipeline.sample_world import SampleWorld
from tests.imagery.range_server import RangeServer
from tests.imagery.stac_server import Item, StacServer
from tests.pipelines.conftest import Built, flags


@dataclasses.dataclass(frozen=True)
class Hosts:
    """The two servers, and where each asset lies on the second."""

    api: StacServer
    files: RangeServer
    collection: str
    paths: dict[tuple[str, str], str]

    def build(self, world: SampleWorld, output: Path, *more: str) -> Built:
        own = ["--stac_url", self.api.url, "--collection", self.collection]
        return Built(output, main([*flags(world, output), *own, *more]))


@contextlib.contextmanager
def serving(
    world: SampleWorld,
    make_files: Callable[[Path], RangeServer] = RangeServer,
    make_api: Callable[[list[Item]], StacServer] = StacServer,
) -> Iterator[Hosts]:
    """Serves a world; a test may pass servers of its own kind."""
    root = world.stac_catalog.parent
    catalogue = pystac.Catalog.from_file(str(world.stac_catalog))
    with make_files(root) as files:
        items, paths = [], {}
        for item in catalogue.get_items(recursive=True):
            content = copy.deepcopy(json.loads(Path(item.self_href).read_text()))
            content["links"] = []
            for key, asset in item.assets.items():
                path = str(Path(asset.get_absolute_href()).relative_to(root))
                paths[item.id, key] = path
                content["assets"][key]["href"] = files.url(path)
            items.append(content)
        collection = items[0].setdefault("collection", "sentinel-2-l2a")
        for content in items:
            content["collection"] = collection
        with make_api(items) as api:
            yield Hosts(api, files, collection, paths)
