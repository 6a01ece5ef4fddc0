"""The Beam side of patches: units and their scenes -> an image of each place. Wiring; no logic."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from beam_pipeline.dataset.assemble import YearScenes
from beam_pipeline.dataset.assemble_places import PlaceImages, assemble_places
from beam_pipeline.dataset.outcomes import AssembledUnit
from beam_pipeline.dataset.settings import PatchSettings
from beam_pipeline.jobs.build.transforms import ReadChips


class ReadPatches(ReadChips):
    """(unit name, the unit and its scenes) -> the unit with the image of each place."""

    settings: PatchSettings

    def assemble(self, parts: Mapping[str, Iterable[Any]], years: Sequence[YearScenes]) -> AssembledUnit:
        (unit,) = parts["unit"]
        images = PlaceImages(self.reader, self.settings.filters, self.offsets())
        return assemble_places(unit, years, images, self.settings.seed, nearest=self.settings.nearest)
