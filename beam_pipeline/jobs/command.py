"""The command line of a job: its flags are parsed, and it runs, or with `--dry_run` its plan is printed."""

import argparse
import dataclasses
import logging
from collections.abc import Callable, Sequence
from typing import Any, Protocol

from apache_beam.options.pipeline_options import PipelineOptions

from beam_pipeline.jobs.runners import parse_flags
from beam_pipeline.runtime.flags import FlagParser
from beam_pipeline.runtime.foreign_text import hide_secrets_in_logs

_NOTHING = "--dry_run: nothing was launched and nothing written but caches."


class ParseFlags(Protocol):
    """The function that parses the flags of a job, ours and Beam's, and checks those that need no file."""

    def __call__(
        self, argv: Sequence[str] | None, prog: str = "", description: str = ""
    ) -> tuple[argparse.Namespace, PipelineOptions]:
        """Parses a command line.

        Args:
            argv: Arguments without the program's name; those of the process by default.
            prog: The command, as a person types it; "" for that of the job.
            description: What the program does.

        Returns:
            Our flags and Beam's options.

        Raises:
            InvalidInputError: A flag is unknown, missing or malformed.
        """


def flags_of(
    make_parser: Callable[..., FlagParser],
    check: Callable[[argparse.Namespace, PipelineOptions], None] | None = None,
) -> ParseFlags:
    """Returns the function that parses the flags of a job.

    Args:
        make_parser: Returns the parser of our flags, of a program's name and description; without, of the job's.
        check: Raises `InvalidInputError` where what was given cannot be used.
    """

    def parse(
        argv: Sequence[str] | None, prog: str = "", description: str = ""
    ) -> tuple[argparse.Namespace, PipelineOptions]:
        parser = make_parser(prog, description) if prog else make_parser()
        given, options = parse_flags(parser, argv)
        if check is not None:
            check(given, options)
        return given, options

    return parse


@dataclasses.dataclass(frozen=True)
class Command:
    """A job as a person starts it.

    Attributes:
        parse: Parses its flags.
        run: Runs it, of our flags and Beam's options, and returns the exit code.
        plan: Checks the same, and returns what is left to do; nothing is launched or written but caches.
    """

    parse: ParseFlags
    run: Callable[[Any, PipelineOptions], int]
    plan: Callable[[Any, PipelineOptions], str]

    def __call__(self, argv: Sequence[str] | None, prog: str, description: str) -> int:
        """Does what a command line says; the arguments are those of `ParseFlags`, the result is the exit code.

        Raises:
            InvalidInputError: Something given cannot be used; nothing was launched.
        """
        logging.basicConfig(format="%(levelname)s %(name)s: %(message)s", level=logging.WARNING)
        hide_secrets_in_logs()
        given, options = self.parse(argv, prog, description)
        if not given.dry_run:
            return self.run(given, options)
        print(self.plan(given, options))
        print(_NOTHING)
        return 0
