"""The file system of a program that reads by itself, without a job."""

from collections.abc import Callable, Sequence

from beam_pipeline.runtime.disk import Disk, is_local
from beam_pipeline.runtime.files import Files


def asks_for_job(words: Sequence[str]) -> bool:
    """Tells whether a command line has --runner, so that a job does the work."""
    return any(word.partition("=")[0] == "--runner" for word in words)


def files_here(
    paths: Sequence[str], written: Sequence[tuple[str, str | None]]
) -> tuple[Files, Callable[[], None] | None]:
    """Returns the disk, or Beam's file systems where a path lies in a bucket; these take seconds to import.

    Args:
        paths: All that is read or written; "" is none.
        written: Flags, each with the file or folder that is written, if any.

    Returns:
        The file system, and what another process has to call before it uses it; None for the disk.

    Raises:
        InvalidInputError: Nobody is logged in to Google who may write.
    """
    if all(is_local(path) for path in paths):
        return Disk(), None
    from apache_beam.options.pipeline_options import PipelineOptions

    from beam_pipeline.jobs.given_files import require_google_login
    from beam_pipeline.jobs.storage import BeamFiles, use_options

    require_google_login(PipelineOptions([]), written)
    use_options()
    return BeamFiles(), use_options
