"""Every program of ours: its parser, how its command line is read, and the code whose messages people see of it."""

import dataclasses
from collections.abc import Callable, Sequence

from beam_pipeline import make_report, preview, verify
from beam_pipeline.jobs.build import options as build
from beam_pipeline.jobs.export import options as export
from beam_pipeline.jobs.extract import options as extract
from beam_pipeline.jobs.import_published import options as import_published
from beam_pipeline.jobs.patches import options as patches
from beam_pipeline.jobs.plan import options as plan
from beam_pipeline.jobs.relabel import options as relabel
from beam_pipeline.jobs.report.options import parse_report_flags
from beam_pipeline.jobs.select import options as select
from beam_pipeline.jobs.verify.options import parse_verify_flags
from beam_pipeline.runtime.flags import FlagParser
from beam_pipeline.sample_world import __main__ as sample_world
from model_tf.downstream_tasks import flags as downstream
from model_tf.evaluation import flags as evaluate
from model_tf.training import flags as train


@dataclasses.dataclass(frozen=True)
class Entry:
    """A program.

    Attributes:
        module: What `python -m` takes, or the script.
        parser: Of its flags.
        parse: Reads a command line as its `main` does.
        needed: The flags without which none is read.
    """

    module: str
    parser: FlagParser
    parse: Callable[[Sequence[str]], object]
    needed: tuple[str, ...] = ()


def _parse_verify(argv: Sequence[str]) -> object:
    job = any(word.startswith("--runner") for word in argv)
    return parse_verify_flags(verify.build_parser(), argv) if job else verify.build_parser().parse_all(argv)


def _parse_report(argv: Sequence[str]) -> object:
    job = any(word.startswith("--runner") for word in argv)
    parser = make_report.build_parser()
    return parse_report_flags(parser, argv) if job else parser.parse_all(argv)


ENTRIES = {
    "build": Entry("beam_pipeline.build_dataset", build.build_parser(), build.parse_build_flags),
    "select": Entry(
        "beam_pipeline.select_cells",
        select.selection_parser(),
        select.parse_selection_flags,
        ("--night_lights=a.tif", "--land_cover=b.tif", "--output=out"),
    ),
    "extract": Entry(
        "beam_pipeline.extract_features",
        extract.extract_parser(),
        extract.parse_extract_flags,
        ("--osm=a.osm.pbf", "--output=out"),
    ),
    "patches": Entry(
        "beam_pipeline.resample_patches",
        patches.patches_parser(),
        patches.parse_patch_flags,
        ("--places=a.csv", "--output=b"),
    ),
    "plan": Entry("beam_pipeline.plan_cost", plan.build_parser(), plan.parse_plan_flags, ()),
    "relabel": Entry(
        "beam_pipeline.relabel",
        relabel.relabel_parser(),
        relabel.parse_relabel_flags,
        ("--dataset=a", "--output=b"),
    ),
    "import": Entry(
        "beam_pipeline.import_published",
        import_published.import_parser(),
        import_published.parse_import_flags,
        ("--published=a", "--output=b"),
    ),
    "export": Entry(
        "beam_pipeline.export_dataset",
        export.export_parser(),
        export.parse_export_flags,
        ("--dataset=a", "--format=published", "--output=b"),
    ),
    "verify": Entry("beam_pipeline.verify", verify.build_parser(), _parse_verify),
    "preview": Entry("beam_pipeline.preview", preview.build_parser(), preview.build_parser().parse_all),
    "report": Entry("beam_pipeline.make_report", make_report.build_parser(), _parse_report),
    "sample_world": Entry(
        "beam_pipeline.sample_world", sample_world.build_parser(), sample_world.build_parser().parse_all
    ),
    "train": Entry(
        "model_tf/train.py", train.build_parser(), lambda argv: train.parse_flags(argv, ""), ("--data=out",)
    ),
    "evaluate": Entry(
        "model_tf/evaluate.py",
        evaluate.build_parser(),
        lambda argv: evaluate.parse_evaluate_flags(argv, ""),
        ("--run=run", "--data=out"),
    ),
    "downstream": Entry(
        "model_tf/downstream.py",
        downstream.build_parser(),
        lambda argv: downstream.parse_downstream_flags(argv, ""),
        ("--patches=a", "--output=b"),
    ),
}


def flags_of(entry: str) -> set[str]:
    """Returns the flags that a program knows, e.g. "--output"."""
    return set(ENTRIES[entry].parser._option_string_actions)
