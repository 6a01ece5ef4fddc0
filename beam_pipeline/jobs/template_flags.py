"""Flags as Dataflow's Flex Templates give them: `--name=value` each, switches and what was left empty included.

Source: https://cloud.google.com/dataflow/docs/guides/templates/configuring-flex-templates
"""

import argparse
import difflib
from collections.abc import Iterable, Mapping, Sequence

from beam_pipeline.runtime.faults import InvalidInputError

_SWITCHED = {"true": True, "false": False}
_LIKENESS = 0.8
"""Of two flags' names, from which on one is taken for a slip of the other: --cels, not --additional_experiments."""


def is_template_launch(argv: Iterable[str]) -> bool:
    """Tells whether a template's launcher gave the flags: it wants the job written to a file, and nobody else does."""
    return any(word.partition("=")[0] == "--template_location" for word in argv)


def as_flags(argv: Sequence[str], actions: Mapping[str, argparse.Action]) -> list[str]:
    """Writes a template's parameters as a person would type them.

    `--switch=true` becomes `--switch`; `--switch=false` its opposite where there is one, else nothing. What is left
    empty was not given, but only in a template: on a command line a variable may be empty by mistake.

    Args:
        argv: Arguments without the program's name.
        actions: What the parsers know, by the flag's name.

    Returns:
        Arguments for the parsers.

    Raises:
        InvalidInputError: A switch has another value than true or false.
    """
    from_template = is_template_launch(argv)
    words: list[str] = []
    for word in argv:
        name, joined, value = word.partition("=")
        if joined and not value and from_template and name.startswith("--"):
            continue
        action = actions.get(name)
        if joined and action is not None and _is_switch(action):
            words += _switched(name, value, actions)
        else:
            words.append(word)
    return words


def refuse_slips(flags: Iterable[str], known: Iterable[str]) -> None:
    """Refuses flags that nobody here knows and that look like one that is known.

    Args:
        flags: Names of flags that may be somebody else's, e.g. a service's.
        known: Those of ours and of Beam.

    Raises:
        InvalidInputError: One looks like a slip.
    """
    names = [*known]
    for flag in flags:
        near = difflib.get_close_matches(flag, names, n=1, cutoff=_LIKENESS)
        if near:
            raise InvalidInputError(f"Unknown flags: {flag}. Is {near[0]} meant? See --help.")


def _is_switch(action: argparse.Action) -> bool:
    return action.nargs == 0 and isinstance(action.const, bool)


def _switched(name: str, value: str, actions: Mapping[str, argparse.Action]) -> list[str]:
    on = _SWITCHED.get(value.lower())
    if on is None:
        raise InvalidInputError(f"{name} is a switch: true or false, or no value. Received: {name}={value}")
    if on:
        return [name]
    action = actions[name]
    opposites = (
        flag
        for flag, other in actions.items()
        if other.dest == action.dest and _is_switch(other) and other.const is not action.const
    )
    return [*opposites][:1]
