"""Makes mutants of a file with mutmut's operators, and draws some of them."""

import dataclasses
import difflib
import random
from collections.abc import Iterable, Iterator
from pathlib import Path

import libcst as cst
from libcst import matchers
from libcst.metadata import MetadataWrapper
from mutmut.mutation.file_mutation import Mutation, MutationVisitor
from mutmut.mutation.mutators import mutation_operators
from mutmut.mutation.pragma_handling import IgnoredCode


@dataclasses.dataclass(frozen=True)
class Mutant:
    """A file with one change.

    Attributes:
        path: The file, relative to the repository.
        line: Number of the first line that differs.
        before: The lines that are replaced, without the space around them.
        after: What they become.
        source: The whole file, changed.
        diff: The change as a unified diff.
    """

    path: str
    line: int
    before: str
    after: str
    source: str = dataclasses.field(repr=False)
    diff: str = dataclasses.field(repr=False)


@dataclasses.dataclass(frozen=True)
class _Change:
    """A change that could be made; to make it takes time, and few are drawn."""

    path: str
    module: cst.Module
    mutation: Mutation

    def mutant(self) -> Mutant:
        """Makes the change."""
        changed = self.module.deep_replace(self.mutation.original_node, self.mutation.mutated_node)
        return _mutant(self.path, self.module.code, changed.code)


def draw(paths: Iterable[str], count: int, seed: int) -> tuple[list[Mutant], int]:
    """Draws mutants of several files, each with the same probability.

    Those of texts with a space in them are left out, for how a message is worded is no behaviour, and those of
    aliases and variables of types, which only mypy reads.

    Args:
        paths: The files, relative to the repository, which is the current folder.
        count: How many to draw, if there are as many.
        seed: The same seed draws the same mutants of the same files.

    Returns:
        The mutants in the order drawn, and how many there are in all.
    """
    changes = [change for path in paths for change in _changes(path)]
    drawn = random.Random(seed).sample(changes, min(count, len(changes)))
    return [change.mutant() for change in drawn], len(changes)


def _changes(path: str) -> list[_Change]:
    visitor = MutationVisitor(mutation_operators, IgnoredCode(set(), set(), set()))
    module = MetadataWrapper(cst.parse_module(Path(path).read_text(encoding="utf-8"))).visit(visitor)
    of_types = {
        id(node)
        for line in module.body
        if isinstance(line, cst.SimpleStatementLine)
        for statement in line.body
        if _names_a_type(statement)
        for node in _nodes(statement)
    }
    return [
        _Change(path, module, mutation)
        for mutation in visitor.mutations
        if not _is_prose(mutation) and id(mutation.original_node) not in of_types
    ]


def _is_prose(mutation: Mutation) -> bool:
    node = mutation.original_node
    return isinstance(node, cst.SimpleString) and " " in node.value


def _names_a_type(statement: cst.CSTNode) -> bool:
    """Tells whether a statement is one such as `Ints = npt.NDArray[np.int64]` or `_T = TypeVar("_T")`."""
    type_variable = matchers.Call(func=matchers.Name("TypeVar"))
    return matchers.matches(statement, matchers.Assign(value=matchers.Subscript() | type_variable))


def _nodes(node: cst.CSTNode) -> Iterator[cst.CSTNode]:
    yield node
    for child in node.children:
        yield from _nodes(child)


def _mutant(path: str, source: str, changed: str) -> Mutant:
    old, new = source.splitlines(), changed.splitlines()
    diff = list(difflib.unified_diff(old, new, path, path, lineterm="", n=1))
    removed = [line[1:].strip() for line in diff[2:] if line.startswith("-")]
    added = [line[1:].strip() for line in diff[2:] if line.startswith("+")]
    first = next((i for i, (a, b) in enumerate(zip(old, new, strict=False), 1) if a != b), len(old))
    return Mutant(path, first, " ".join(removed), " ".join(added), changed, "\n".join(diff))
