"""The launcher's findings that decide nothing of the dataset's content."""

from typing import Annotated

import pydantic
from pydantic import Field

from beam_pipeline.dataset.folder import plan_json
from beam_pipeline.runtime.parsing import parse_json


class LaunchRecord(pydantic.BaseModel):
    """The content of `plan/launch.json`.

    Attributes:
        cells_beyond_extracts: Planned cells beyond the bounds of all extracts; None where it is not known.
    """

    # Fields that a later 1.x adds are kept as they are.
    model_config = pydantic.ConfigDict(frozen=True, strict=True, extra="allow")

    cells_beyond_extracts: Annotated[int, Field(ge=0)] | None

    @classmethod
    def from_json(cls, text: str | bytes) -> "LaunchRecord":
        """Reads what `to_json` wrote.

        Raises:
            MalformedError: It is none; the message names the field.
        """
        return parse_json(_ADAPTER, text)

    def to_json(self) -> str:
        """Returns the text of the file."""
        return plan_json(self.model_dump())


_ADAPTER = pydantic.TypeAdapter(LaunchRecord)
