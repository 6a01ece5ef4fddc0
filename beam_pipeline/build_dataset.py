r"""Builds a dataset: cells -> Sentinel-2 pairs and OpenStreetMap labels in sharded TFRecords.

    python -m beam_pipeline.build_dataset --sample --output out/sample
    python -m beam_pipeline.build_dataset --region 6.0,49.6,6.2,49.8 --years 2019-2020 \
        --osm luxembourg.osm.pbf --output out/luxembourg

A run that was stopped goes on where it was when the same command is given again. A local run ends with
`beam_pipeline.verify`. Exit codes: 0, every cell-year is written or rejected; 1, some are dead letters, nothing at
all was written, or what was written is not what it must be; 2, the input cannot be used: nothing was launched.
"""

import logging
import os
import re
import signal
import sys
from collections.abc import Sequence

import apache_beam as beam

from beam_pipeline.audit.dataset import verify_dataset
from beam_pipeline.dataset.folder import DatasetFolder
from beam_pipeline.dataset.run_record import add_stage_metrics
from beam_pipeline.dataset.settings import BuildSettings
from beam_pipeline.jobs.build.label_transforms import MakeLabels
from beam_pipeline.jobs.build.launch import prepare_build
from beam_pipeline.jobs.build.options import help_text
from beam_pipeline.jobs.build.progress import closing_table, progress_bar
from beam_pipeline.jobs.build.transforms import CloseDataset, FindScenes, ReadPlan, WriteUnits
from beam_pipeline.jobs.runners import is_dataflow, make_pipeline, parse_flags, runs_locally
from beam_pipeline.jobs.storage import BeamFiles
from beam_pipeline.runtime.faults import Fault, InvalidInputError
from beam_pipeline.runtime.foreign_text import hide_secrets_in_logs

_STORAGE_FAULT = re.compile(r"Fault: (storage: .*?)(?: \[while running .*)?$", re.MULTILINE)


def build_graph(pipeline: beam.Pipeline, settings: BuildSettings) -> None:
    """Adds the whole job to a pipeline.

    Args:
        pipeline: An empty pipeline.
        settings: From `prepare_build`; the plan lies in its output folder.
    """
    units = pipeline | "ReadPlan" >> ReadPlan(settings)
    scenes = units | "FindScenes" >> FindScenes(settings)
    labels = units | "MakeLabels" >> MakeLabels(settings)
    names = {"unit": units, "scenes": scenes, "labels": labels} | "WriteUnits" >> WriteUnits(settings)
    names | "CloseDataset" >> CloseDataset(settings)


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command line.

    Args:
        argv: Arguments without the program's name; those of the process by default.

    Returns:
        The exit code.
    """
    argv = sys.argv[1:] if argv is None else argv
    if {"-h", "--help"} & set(argv):
        print(help_text(__doc__ or ""))
        return 0
    logging.basicConfig(format="%(levelname)s %(name)s: %(message)s", level=logging.WARNING)
    hide_secrets_in_logs()
    try:
        options = parse_flags(argv)
        pipeline = make_pipeline(options)
        settings = prepare_build(options)
    except InvalidInputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    build_graph(pipeline, settings)
    try:
        with progress_bar(settings.output):
            result = pipeline.run()
            if is_dataflow(options):
                # The job outlives its launcher; the closing step in its graph describes the dataset.
                return 0
            result.wait_until_finish()
    except Exception as error:
        # Runners pass on the text of what a stage raised, and not its class.
        fault = _STORAGE_FAULT.search(str(error))
        if fault is None:
            raise
        print(
            f"error: the output cannot be used any more: {fault[1]}. When it can, the same command goes on",
            file=sys.stderr,
        )
        return 1
    folder = DatasetFolder(BeamFiles(), settings.output)
    add_stage_metrics(folder, result.metrics().query())
    table, complete = closing_table(folder)
    print(table)
    if runs_locally(options):
        try:
            findings = verify_dataset(folder)
        except (InvalidInputError, Fault) as error:
            print(f"error: cannot be verified: {error}", file=sys.stderr)
            return 1
        print(f"verified: {findings.line()}")
        if findings.kinds:
            print(findings.table())
            return 1
    return 0 if complete else 1


def _stop(*_: object) -> None:
    """Ends the process at once: threads that wait for a silent host would hold it for minutes.

    What was written stays whole, as after a kill.
    """
    print("\nstopped: given again, the same command goes on where this one was", file=sys.stderr, flush=True)
    os._exit(130)  # 128 + SIGINT, as shells say


if __name__ == "__main__":
    signal.signal(signal.SIGINT, _stop)
    sys.exit(main())
