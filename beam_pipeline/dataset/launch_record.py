"""The launcher's findings that decide nothing of the dataset's content."""

from typing import Annotated, Literal

import pydantic
from pydantic import Field

from beam_pipeline.dataset.folder import plan_json
from beam_pipeline.runtime.parsing import parse_json


class ImportRecord(pydantic.BaseModel):
    """Counts of what an import found in the published folders and left out.

    Attributes:
        rows: Lines of the table of cells.
        rows_refused: Those that cannot be used, by the column at fault.
        first_refused: What is wrong with the first of them.
        rows_without_label: Lines of cells that have no label image.
        tiles_in_two_splits: Tiles of which one cell is of another split than another; they are kept as they are.
        labels_without_row: Label images of no line.
        image_folders_without_row: Folders of images of no line.
        image_folders_without_label: Folders of images of lines without a label image.
        files_elsewhere: Files among labels and images that are called like none of them.
        first_elsewhere: The first of these, and of what has no line.
        ontology: "given" as the file says it; "reduced" to names, values and precedence, as its tags are not of our
            format; "default" where there is no file.
    """

    model_config = pydantic.ConfigDict(frozen=True, strict=True, extra="forbid")

    rows: int
    rows_refused: dict[str, int]
    first_refused: tuple[str, ...]
    rows_without_label: int
    tiles_in_two_splits: tuple[str, ...]
    labels_without_row: int
    image_folders_without_row: int
    image_folders_without_label: int
    files_elsewhere: int
    first_elsewhere: tuple[str, ...]
    ontology: Literal["given", "reduced", "default"]


class LaunchRecord(pydantic.BaseModel):
    """The content of `plan/launch.json`.

    Attributes:
        cells_beyond_extracts: Planned cells beyond the bounds of all extracts; None where it is not known.
        imported: What an import found; None of a build.
    """

    # Fields that a later 1.x adds are kept as they are.
    model_config = pydantic.ConfigDict(frozen=True, strict=True, extra="allow")

    cells_beyond_extracts: Annotated[int, Field(ge=0)] | None
    imported: ImportRecord | None = None

    @classmethod
    def from_json(cls, text: str | bytes) -> "LaunchRecord":
        """Reads what `to_json` wrote.

        Raises:
            MalformedError: It is none; the message names the field.
        """
        return parse_json(_ADAPTER, text)

    def to_json(self) -> str:
        """Returns the text of the file."""
        return plan_json(self.model_dump(mode="json", exclude_unset=True))


_ADAPTER = pydantic.TypeAdapter(LaunchRecord)
