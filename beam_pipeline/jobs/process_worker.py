r"""A worker process as an engine starts it with `--environment_type=PROCESS`.

    --environment_config='{"command": "/path/to/worker"}', of a script that any machine has:

    #!/bin/sh
    exec /path/to/venv/bin/python -m beam_pipeline.jobs.process_worker "$@"

Beam's own is the program `boot` of its container image. This one needs no container, but a Python that has this package
and the launcher's versions: it installs nothing.
"""

import argparse
import os
from collections.abc import Mapping, Sequence

import grpc
from apache_beam.portability.api import (
    beam_provision_api_pb2,
    beam_provision_api_pb2_grpc,
    endpoints_pb2,
)
from apache_beam.runners.worker import sdk_worker_main
from google.protobuf import json_format, text_format

from beam_pipeline.runtime.environment import settle_environment

_LONGEST_WAIT_S = 60


def main(argv: Sequence[str] | None = None) -> None:
    """Works for the engine until it hangs up.

    Args:
        argv: The engine's arguments; those of the process by default.
    """
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--id", required=True, help="the engine's name for this worker")
    parser.add_argument("--provision_endpoint", required=True, metavar="HOST:PORT", help="of the engine")
    given, _ = parser.parse_known_args(argv)  # engines may add to it
    settle_environment()
    # Prism quotes it as if a shell were between.
    os.environ.update(_provided(given.id.strip("'"), given.provision_endpoint))
    sdk_worker_main.main([])


def _provided(worker: str, endpoint: str) -> Mapping[str, str]:
    """Asks the engine for what a worker must know.

    Args:
        worker: The engine's name for this worker.
        endpoint: Where its provision service listens.

    Returns:
        The environment of Beam's worker. Source: sdks/python/container/boot.go of Beam.
    """
    # The engine tells workers apart by the header.
    headers = (("worker_id", worker),)
    with grpc.insecure_channel(endpoint) as channel:
        service = beam_provision_api_pb2_grpc.ProvisionServiceStub(channel)
        asked = beam_provision_api_pb2.GetProvisionInfoRequest()
        info = service.GetProvisionInfo(asked, timeout=_LONGEST_WAIT_S, metadata=headers).info
    return {
        "WORKER_ID": worker,
        "PIPELINE_OPTIONS": json_format.MessageToJson(info.pipeline_options),
        "CONTROL_API_SERVICE_DESCRIPTOR": _text(info.control_endpoint),
        "LOGGING_API_SERVICE_DESCRIPTOR": _text(info.logging_endpoint),
        "RUNNER_CAPABILITIES": " ".join(info.runner_capabilities),
    }


def _text(endpoint: endpoints_pb2.ApiServiceDescriptor) -> str:
    return str(text_format.MessageToString(endpoint))


if __name__ == "__main__":
    main()
