"""Whether the workers of a job will have this package."""

from apache_beam.options.pipeline_options import PipelineOptions, SetupOptions, WorkerOptions

from beam_pipeline.jobs.runners import is_dataflow
from beam_pipeline.runtime.faults import InvalidInputError


def require_package_on_workers(options: PipelineOptions) -> None:
    """Refuses a job on Dataflow whose workers could not import what they are to run.

    Args:
        options: Beam's options.

    Raises:
        InvalidInputError: No flag brings the package to the workers.
    """
    if not is_dataflow(options):
        return
    setup = options.view_as(SetupOptions)
    if not (options.view_as(WorkerOptions).sdk_container_image or setup.setup_file or setup.extra_packages):
        raise InvalidInputError(
            "Dataflow's workers would lack this package: --sdk_container_image is missing. Give the image that "
            "templates/build.sh made"
        )
