"""Whether the workers of a job have this package and the launcher's versions, as far as a launch can tell."""

import re
import sys

import apache_beam as beam
from apache_beam.options.pipeline_options import PipelineOptions, PortableOptions, SetupOptions, WorkerOptions

from beam_pipeline import __version__
from beam_pipeline.jobs.runners import PORTABLE_RUNNERS, environment_type, is_dataflow, runner_name
from beam_pipeline.runtime.faults import InvalidInputError

CURE = "Give the image that templates/build.sh makes of the launcher's version"

_OF_BEAM = re.compile(r"(?:\A|/)beam_python(?P<python>\d+\.\d+)_sdk(?::(?P<beam>[\w.]+))?\Z")
"""Source: Beam's images on Docker Hub, apache/beam_python3.11_sdk:2.77.0."""

_OURS = re.compile(r"/opensentinelmap-[a-z-]+:(?P<version>[\w.]+)-\d{8}-\d{6}\Z")
"""Source: templates/build.sh."""


class WorkerVersionError(Exception):
    """A worker has another version of this package than the launcher."""


def require_package_on_workers(options: PipelineOptions) -> None:
    """Refuses a job whose workers are containers of an image that cannot run it, as far as its name says.

    Args:
        options: Beam's options.

    Raises:
        InvalidInputError: No flag brings the package to the workers, or the image's name says another version.
    """
    given = _given_image(options)
    if given is None:
        return
    flag, image = given
    setup = options.view_as(SetupOptions)
    brought = bool(setup.setup_file or setup.extra_packages)
    if not (image or brought):
        raise InvalidInputError(f"The workers would lack this package: --{flag} is missing. {CURE}")
    of_beam, ours = _OF_BEAM.search(image or ""), _OURS.search(image or "")
    if of_beam and not brought:
        raise InvalidInputError(
            f"--{flag} is Beam's own image, and its workers would lack this package. {CURE}. Received: {image}"
        )
    here = {"python": f"{sys.version_info.major}.{sys.version_info.minor}", "beam": beam.__version__}
    if of_beam and not {*of_beam.groupdict().items()} <= {*here.items(), ("beam", None)}:
        raise InvalidInputError(
            f"--{flag} has another Python or Beam than the launcher. Give "
            f"apache/beam_python{here['python']}_sdk:{here['beam']}. Received: {image}"
        )
    if ours and ours["version"] != __version__:
        raise InvalidInputError(
            f"--{flag} has version {ours['version']} of this package, and the launcher {__version__}. {CURE}. "
            f"Received: {image}"
        )


def require_extra_on_workers(options: PipelineOptions, package: str, needed_by: str) -> None:
    """Refuses a job whose workers are known to lack a package that only some commands need.

    Args:
        options: Beam's options.
        package: Its name.
        needed_by: The flag or command that needs it, for the message.

    Raises:
        InvalidInputError: The image is Beam's or that of templates/, and no flag brings more packages.
    """
    flag, image = _given_image(options) or ("", None)
    setup = options.view_as(SetupOptions)
    known = image and (_OF_BEAM.search(image) or _OURS.search(image))
    if known and not (setup.requirements_file or setup.extra_packages):
        raise InvalidInputError(
            f"{needed_by} needs the package {package} on the workers, and their image lacks it. Give an image that has "
            f"it in --{flag}, or run without a cluster. Received: {image}"
        )


def _given_image(options: PipelineOptions) -> tuple[str, str | None] | None:
    """Returns the flag that names the image of the workers, and the image; None where they are no containers."""
    if is_dataflow(options):
        return "sdk_container_image", options.view_as(WorkerOptions).sdk_container_image
    if runner_name(options) in PORTABLE_RUNNERS and environment_type(options) == "DOCKER":
        portable = options.view_as(PortableOptions)
        named = portable.lookup_environment_option("docker_container_image")
        return "environment_config", named or portable.environment_config
    return None


def require_launchers_version(launchers: str) -> None:
    """Has a worker end that would run other code than the launcher planned with.

    Beam itself compares its own version and Python's, and no others.

    Args:
        launchers: The launcher's version of this package.

    Raises:
        WorkerVersionError: The worker's is another.
    """
    if launchers != __version__:
        raise WorkerVersionError(
            f"The workers have version {__version__} of this package, and the launcher has {launchers}"
        )


def cure_of(cause: str) -> str:
    """Returns what to do about workers that cannot run the job, by the engine's words; "" where it is something else.

    Args:
        cause: One line.
    """
    lacking = "No module named 'beam_pipeline" in cause
    other = WorkerVersionError.__name__ in cause or "Runtime environment: " in cause
    return CURE if lacking or other else ""
