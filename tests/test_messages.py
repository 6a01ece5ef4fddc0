"""Flags and commands that messages name: each flag exists, each command parses, each piece of advice was tried.

Messages are found in the code by their strings, so that a new one cannot be forgotten.
"""

import argparse
import ast
import importlib.util
import re
import shlex
import tomllib
from collections.abc import Iterator
from pathlib import Path

from apache_beam.options.pipeline_options import PipelineOptions

from beam_pipeline.exchange.webdataset import WebDataset
from model_tf.backend import TRAIN_PACKAGES
from model_tf.training.settings import PRESETS
from tests.entries import ENTRIES, flags_of

ROOT = Path(__file__).parents[1]

BOTH_JOBS = ("build", "select")
BOTH_OF_MODEL = ("train", "evaluate")
SPEAKS_OF: dict[str, tuple[str, ...]] = {
    "": (),
    "beam_pipeline/audit": ("build", "verify"),
    "beam_pipeline/build_dataset.py": ("build",),
    "beam_pipeline/cells": BOTH_JOBS,
    "beam_pipeline/cli.py": (),
    "beam_pipeline/dataset": ("build",),
    "beam_pipeline/exchange": ("export",),
    "beam_pipeline/export_dataset.py": ("export",),
    "beam_pipeline/extract_features.py": ("extract",),
    "beam_pipeline/features": ("build", "extract"),
    "beam_pipeline/imagery": ("build",),
    "beam_pipeline/jobs": BOTH_JOBS,
    "beam_pipeline/jobs/build": ("build",),
    # The sample's cells are chosen as `select_cells` does.
    "beam_pipeline/jobs/build/sample.py": BOTH_JOBS,
    "beam_pipeline/jobs/export": ("export",),
    "beam_pipeline/jobs/extract": ("build", "extract"),
    "beam_pipeline/import_published.py": ("import",),
    "beam_pipeline/jobs/import_published": ("import",),
    "beam_pipeline/jobs/patches": ("patches",),
    "beam_pipeline/jobs/plan": ("plan",),
    "beam_pipeline/jobs/plan/dry_run.py": (*BOTH_JOBS, "extract", "relabel", "import"),
    "beam_pipeline/jobs/relabel": ("relabel",),
    "beam_pipeline/jobs/select": ("select",),
    "beam_pipeline/jobs/verify": ("verify",),
    "beam_pipeline/jobs/report": ("report",),
    "beam_pipeline/labels": ("build",),
    "beam_pipeline/make_report.py": ("report",),
    "beam_pipeline/maps": ("select",),
    "beam_pipeline/places": ("patches",),
    "beam_pipeline/plan_cost.py": ("plan",),
    "beam_pipeline/preview.py": ("preview",),
    "beam_pipeline/readers": (),
    "beam_pipeline/records": (),
    "beam_pipeline/records/folder_kinds.py": (*BOTH_JOBS, *BOTH_OF_MODEL, "downstream"),
    "beam_pipeline/relabel.py": ("relabel",),
    "beam_pipeline/resample_patches.py": ("patches",),
    "beam_pipeline/records/info.py": ("build",),
    "beam_pipeline/report": ("preview", "report"),
    # Of the build, whose dead letters it counts.
    "beam_pipeline/report/image_figures.py": ("build",),
    "beam_pipeline/runtime": BOTH_JOBS,
    "beam_pipeline/runtime/cores.py": ("build", "verify"),
    "beam_pipeline/sample_world": ("sample_world",),
    "beam_pipeline/select_cells.py": ("select",),
    "beam_pipeline/verify.py": ("verify",),
    "model_tf/backend.py": BOTH_OF_MODEL,
    "model_tf/data": BOTH_OF_MODEL,
    "model_tf/downstream.py": ("downstream",),
    "model_tf/downstream_tasks": ("downstream",),
    "model_tf/evaluate.py": ("evaluate",),
    "model_tf/evaluation": BOTH_OF_MODEL,
    "model_tf/network": BOTH_OF_MODEL,
    "model_tf/scores": ("evaluate",),
    "model_tf/train.py": ("train",),
    "model_tf/training": ("train",),
}
"""The programs whose flags the messages of a file or a folder may name; the longest path counts."""

OTHERS_FLAGS = {
    "--help",
    "--version",
    "--xla_gpu_deterministic_ops",  # of XLA, in the environment
    "--config",  # of GDAL's programs
    "--sans",  # a variable of a page's style
    *("--id", "--provision_endpoint"),  # of engines, to a worker that they start
    *("--summary", "--num_categories"),  # of `python -m model_tf.network.hrnet`
}

ADVISES = re.compile(
    r"\bagain\b|anew|same command|goes on|[Dd]elete|pip install|python -m \w|python model_tf|osmium |ogr2ogr|sha256sum"
)
"""The words of a message that tells people to do something."""

ADVICE = {
    "{} must hold the fits of an earlier command": "test_a_file_that_is_no_fits_is_refused_and_the_advice_holds",
    "delete these shards, and the command that built": "test_a_shard_with_a_flipped_bit_is_named_and_made_anew",
    "error: the job failed on its engine": "test_a_job_that_fails_is_one_sentence_and_the_same_command_goes_on",
    "given again, the same command goes on where": "test_only_what_is_missing_is_done_again",
    "Choose another --output, give the settings": "test_without_its_fingerprint_a_folder_takes_its_own_settings_only",
    "{} holds another export; one goes on only": "test_it_goes_on_as_it_says_and_refuses_other_settings",
    "the same command exports these shards again": "test_it_goes_on_as_it_says_and_refuses_other_settings",
    "{} holds another dataset; a run goes on only": "test_what_is_advised_about_its_truncated_extract_works",
    "write it anew: osmium cat": "test_a_file_packed_with_lz4_is_refused_before_launch",
    "Give another folder, or delete {} and give": "test_a_store_folder_keeps_its_cells",
    "the same command reads these again": "test_a_broken_extract_costs_its_cells_and_is_read_again_by_the_next_run",
    "{} is being used by another launch": "test_what_a_killed_launch_left_is_named",
    "{} is damaged: {}. Delete it and give the command again": "test_a_damaged_fingerprint_is_named",
    "Delete it and give the command again": "test_a_damaged_piece_is_a_fault_and_deleted_and_made_again_it_merges",
    "the same command with --retry_dead_letters": "test_a_retry_of_dead_letters_takes_nothing_away",
    "those of images are the relabelled dataset's": "test_damage_of_the_source_costs_its_units_only_until_it_is_mended",
    "--retry_dead_letters. Then the same command as now": "test_dead_letters_of_the_source_are_retried_as_advised",
    "That may pass: try again later": "test_files_that_are_not_given",
    "Hosts say so to who brings no token": "test_files_that_are_not_given",
    "{} is not as it was at launch": "test_workers_take_the_files_that_the_launch_saw_and_the_advice_holds",
    "osmium time-filter {} {}": "test_one_moment_of_a_history_is_built_from",
    "{}: {} is in it more than once": "test_extracts_of_two_dates_merged_are_refused_and_the_advice_holds",
    "An OSM extract breaks off": "test_a_truncated_extract_is_refused_before_launch_and_the_advice_holds",
    "There is no {}: no build finished there. One that": "test_a_build_without_its_description_goes_on_as_advised",
    "There is no {}. Give the folder that `python -m beam": "test_a_build_without_its_description_goes_on_as_advised",
    "{} needs the package {}, which is not installed": "test_each_extra_brings_what_is_missing",
    "Give another --output, or delete the file to begin": "test_without_its_checkpoint_a_run_begins_anew",
    "stopped after {} steps; the same command goes on": "test_a_run_goes_on_bit_for_bit_wherever_it_ended",
    "To begin a new run give another --output; to go on": "test_a_run_goes_on_bit_for_bit_wherever_it_ended",
    "There is no {}. Give the folder that `python model_tf": "test_scores_json_says_what_was_scored_and_how",
    "{} must have the number of an epoch in every row": "test_a_damaged_log_is_refused",
    "{} is not what this version writes": "test_a_run_leaves_settings_checkpoints_and_logs",
    "the same command goes on": "test_a_disk_that_fails_ends_a_run_that_goes_on",
    "given again, the same command scores anew": "test_a_small_disk_gets_a_sentence_and_no_scores",
    "Its weights are too large: give another --checkpoint": "test_other_split_cells_and_checkpoint",
    "given again, the same command goes on with what": "test_it_goes_on_where_it_ended",
    "{} cannot be loaded on this machine": "test_a_machine_that_fails_is_no_damage_of_the_checkpoint",
}
"""By how each begins, the advice that we can follow ourselves, and the test that follows it."""

NOT_OURS = (
    # To fetch or to copy a file once more.
    *(
        "--night_lights cannot be expanded",
        "{}: {} is cut short",
        "Copy it again",
        "{} is damaged: {}. Copy it again",
        "{} cannot be read: {}. Copy it again",
        "{}, record {}, is damaged: {}. Copy it again",
        "A regular file is wanted: copy",
        "The current folder cannot be used",
        ". Shards and dataset.json",
    ),
    *("{}: a shard must hold what", "{} must be there with {} bytes", "download or make it again"),
    "{}: the process that read it ended {}. The file",
    "{}: shards must list each shard once",
    # To run a program of others.
    *(
        "The region's GeoJSON must be in longitude",
        "{}: {}; sort it",
        "An OSM extract is packed",
    ),
    "--water_polygons {}; {} and {} are read",
    *("An OSM extract has no readable header", "{}: {} has blocks of"),
    # To make other data.
    "label: channel {} ({}) must hold only",
)
"""The beginnings of other advice."""

NO_ADVICE = (
    *(
        "delete",
        "s3:ListBucket of the bucket",
        "python -m beam_pipeline.",
        "requests tried again",
        "do those finished shards again",
    ),
    "Images, labels, cells and splits are those of",
    "{} was deleted by another program",
    "--output holds {}, and {}/ is deleted when",
    *("{} gives the same page again", "%s is damaged and", "%s was begun with", "{} goes on in epoch"),
)
"""The beginnings of messages that only look like it."""


DISTRIBUTIONS = {"sklearn": "scikit-learn"}
"""By the name under which Python imports it, how a package is called where the two differ."""


def python_files() -> list[Path]:
    return sorted([*ROOT.glob("beam_pipeline/**/*.py"), *ROOT.glob("model_tf/**/*.py")])


def strings_of(source: str) -> Iterator[str]:
    """Yields the strings of a module, without docstrings; what is put into one stands in braces."""
    tree = ast.parse(source)
    passed = {
        id(node.value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Expr)  # docstrings
    } | {id(part) for node in ast.walk(tree) if isinstance(node, ast.JoinedStr) for part in node.values}
    for node in ast.walk(tree):
        if id(node) in passed:
            continue
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value
        elif isinstance(node, ast.JoinedStr):
            yield "".join(str(part.value) if isinstance(part, ast.Constant) else "{}" for part in node.values)


def messages() -> list[tuple[str, str]]:
    """Returns (file, string) of all strings of both packages."""
    return [
        (str(path.relative_to(ROOT)), text)
        for path in python_files()
        for text in strings_of(path.read_text())
    ]


def programs_of(file: str) -> tuple[str, ...]:
    return SPEAKS_OF[max((path for path in SPEAKS_OF if file.startswith(path)), key=len, default="")]


def beams_flags() -> set[str]:
    parsers: list[argparse.ArgumentParser] = []
    PipelineOptions([]).get_all_options(add_extra_args_fn=parsers.append)
    return set(parsers[0]._option_string_actions)


def test_each_flag_that_a_message_names_is_one_of_the_program_that_says_it() -> None:
    beams, found = beams_flags(), 0
    for file, text in messages():
        programs = programs_of(file)
        known = OTHERS_FLAGS.union(*map(flags_of, programs))
        if set(programs) & {*BOTH_JOBS, "verify", "report"}:
            known |= beams
        for flag in re.findall(r"(?<![\w-])--[a-z_]+\b(?!\{)", text):
            assert flag in known, f"{file}: {text}"
            found += 1
    assert found > 150


def test_each_extra_brings_what_is_missing() -> None:
    """Of every call that looks for a package."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = {
        name: {re.split(r"[^\w-]", one)[0] for one in packages}
        for name, packages in project["optional-dependencies"].items()
    }
    assert project["name"] == "opensentinelmap"
    brought = []
    for path in python_files():
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and ast.unparse(node.func) == "require_package":
                if path.match("jobs/export/*.py"):  # of each format
                    ((package_name, _, extra_name),) = WebDataset("pcodec").packages
                    assert package_name in extras[extra_name]
                    continue
                package, _, extra = node.args
                assert isinstance(extra, ast.Constant)
                packages = {str(package.value)} if isinstance(package, ast.Constant) else {*TRAIN_PACKAGES}
                packages = {DISTRIBUTIONS.get(name, name) for name in packages}
                assert packages <= extras[str(extra.value)]
                brought.append(str(extra.value))
    assert sorted(brought) == ["downstream", "overpass", *["plots"] * 5, "sea", "train"]


def commands_of(text: str) -> Iterator[tuple[str, list[str]]]:
    """Yields (program, words) of the commands in a text that a parser can read whole."""
    joined = re.sub(r"\\\n\s*", "", text)
    for program, entry in ENTRIES.items():
        ways = (
            rf"python -m {re.escape(entry.module)}|python {re.escape(entry.module)}|opensentinelmap {program}"
        )
        for words in re.findall(rf"(?:{ways})\b([^`\n]*)", joined):
            yield program, [word for word in shlex.split(words.removesuffix("...")) if word != "--help"]


def test_each_command_that_is_shown_parses() -> None:
    """Those of help: what a program does, and the presets; `...` stands for more."""
    shown = [path.read_text().partition('"""')[2].partition('"""')[0] for path in python_files()]
    shown += [make.__doc__ or "" for make in PRESETS.values()]
    tried = set()
    for program, words in (command for text in shown for command in commands_of(text)):
        if words:  # else only the program is named
            entry, given = ENTRIES[program], " ".join(words)
            entry.parse([*(flag for flag in entry.needed if flag.partition("=")[0] not in given), *words])
            tried.add(program)
    assert tried == set(ENTRIES)


def test_each_command_of_a_message_is_one_of_ours() -> None:
    for file, text in messages():
        for module in re.findall(r"python -m ([\w.]+\w)", text):
            assert importlib.util.find_spec(module) is not None, file
        for script in re.findall(r"python ([\w/]+\.py)", text):
            assert (ROOT / script).is_file(), file
        for program, words in commands_of(text):
            assert {word for word in words if word.startswith("--")} <= flags_of(program), file


def test_all_advice_was_tried() -> None:
    tests = "".join(path.read_text() for path in ROOT.glob("tests/**/*.py"))
    known = (*ADVICE, *NOT_OURS, *NO_ADVICE)
    said = [text for _, text in messages() if ADVISES.search(text)]
    for text in said:
        assert text.startswith(known), f"say in ADVICE which test follows this: {text}"
    for beginning in known:
        assert any(text.startswith(beginning) for text in said), f"nobody says this any more: {beginning}"
    for test in ADVICE.values():
        assert f"def {test}(" in tests, test
