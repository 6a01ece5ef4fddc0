"""The settings of a report, checked."""

import dataclasses
from typing import Any, Self

from beam_pipeline.dataset.folder import require_beside
from beam_pipeline.runtime.faults import InvalidInputError, PermanentFault
from beam_pipeline.runtime.files import Files, join

PAGE_FILE = "report.html"
FOLDER_ENDING = "_figures"
MOST_EXAMPLES = 100
"""On a page; each has about 0.3 MB of pictures."""

_HTML = ".html"


@dataclasses.dataclass(frozen=True)
class ReportSettings:
    """The content and place of a report; small and picklable.

    Attributes:
        dataset: The folder of the dataset.
        output: The page.
        examples: How many examples it shows.
        read_refused: Whether refused images are read again from the catalogue's files.
        own_network: Whether these may lie on inner networks.
    """

    dataset: str
    output: str
    examples: int = 6
    read_refused: bool = False
    own_network: bool = False

    @classmethod
    def of_flags(cls, given: Any) -> Self:
        """Checks the flags of a report.

        Raises:
            InvalidInputError: One cannot be used.
        """
        if not 0 <= given.examples <= MOST_EXAMPLES:
            raise InvalidInputError(f"--examples must be 0 to {MOST_EXAMPLES}. Received: {given.examples}")
        output = given.output or join(given.dataset, PAGE_FILE)
        if not output.endswith(_HTML):
            raise InvalidInputError(f"--output must end with {_HTML}. Received: {output}")
        require_beside(output, given.dataset)
        return cls(given.dataset, output, given.examples, given.read_refused, given.allow_own_network)

    def require_output(self, files: Files) -> None:
        """Looks at what has the page's name, before all is counted.

        Raises:
            InvalidInputError: It is something else than a file.
            Fault: The storage failed.
        """
        try:
            files.size(self.output)
        except PermanentFault as fault:
            raise InvalidInputError(
                f"--output cannot be written: {fault.detail}. Give the name of a file. Received: {self.output}"
            ) from fault

    @property
    def figures(self) -> str:
        """The folder of the figures."""
        return self.output.removesuffix(_HTML) + FOLDER_ENDING
