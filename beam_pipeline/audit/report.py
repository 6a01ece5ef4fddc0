"""The findings of an audit as a file: for programs, and for whoever started a job that outlives its launcher."""

import pydantic

from beam_pipeline.audit.findings import Findings
from beam_pipeline.dataset.folder import description_json
from beam_pipeline.runtime.faults import InvalidInputError, PermanentFault
from beam_pipeline.runtime.files import Files
from beam_pipeline.runtime.parsing import MalformedError, parse_json

REPORT_FILE = "verification.json"
"""Its name in the dataset, where no other is given."""


class Report(pydantic.BaseModel):
    """The report of an audit, as its file holds it.

    Attributes:
        finished: Whether the audit has ended; if not, all else is empty.
        differences: Number of differences; 0 of a dataset that is whole.
        checked: What was looked at, as `Findings.checked`.
        kinds: Number of differences by kind.
        damaged_shards: Names of shards that are not what their summaries say.
        table: The lines that `verify` prints.
    """

    model_config = pydantic.ConfigDict(extra="forbid")

    finished: bool
    differences: int = 0
    checked: dict[str, int] = {}
    kinds: dict[str, int] = {}
    damaged_shards: list[str] = []
    table: list[str] = []

    @classmethod
    def of(cls, findings: Findings) -> "Report":
        """Returns the report of an audit that has ended."""
        return cls(
            finished=True,
            differences=findings.kinds.total(),
            checked=dict(findings.checked),
            kinds=dict(findings.kinds),
            damaged_shards=findings.damaged_shards,
            table=findings.table().splitlines(),
        )


_REPORT = pydantic.TypeAdapter(Report)


def begin_report(files: Files, path: str) -> None:
    """Writes a report that is not finished, over an old one: so it can be written, and nobody takes the old for new.

    Args:
        files: The file system.
        path: The file.

    Raises:
        InvalidInputError: It cannot be written, or is something else.
    """
    try:
        if files.exists(path):
            parse_json(_REPORT, files.read_bytes(path))
        write_report(files, path, Report(finished=False))
    except MalformedError as error:
        raise InvalidInputError(
            f"--report would replace a file that is no report. Give another name. Received: {path}"
        ) from error
    except Exception as error:  # cloud clients raise classes of their own
        raise InvalidInputError(
            f"--report cannot be written: {error}. Give a file that can be, local or gs://. Received: {path}"
        ) from error


def write_report(files: Files, path: str, report: Report) -> None:
    """Writes a report.

    Args:
        files: The file system.
        path: The file.
        report: What it says.

    Raises:
        Fault: It cannot be written.
    """
    files.write_text(path, description_json(report.model_dump()))


def read_report(files: Files, path: str) -> Report:
    """Reads what `write_report` wrote.

    Args:
        files: The file system.
        path: The file.

    Raises:
        Fault: It cannot be read, is none, or is not finished.
    """
    try:
        report = parse_json(_REPORT, files.read_bytes(path))
    except MalformedError as error:
        raise PermanentFault("report", f"{path} is no report: {error}") from error
    if not report.finished:
        raise PermanentFault("report", f"{path} is not finished")
    return report
