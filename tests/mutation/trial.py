"""Runs tests in a process of their own in which one module is a mutant.

The mutant is never written to disk: an import hook gives it in place of the file. The process is forked from a
server that has imported the libraries already, which saves seconds a mutant. Its limit is one of CPU time, so
that a busy machine makes no mutant look like one that loops.
"""

import dataclasses
import importlib.abc
import importlib.machinery
import importlib.util
import multiprocessing
import os
import resource
import sys
import tempfile
import types
from collections.abc import Sequence
from multiprocessing.connection import Connection
from pathlib import Path

LIBRARIES = [
    *("apache_beam", "hypothesis", "numpy", "osmium", "PIL.Image", "pydantic", "pyproj", "pystac_client"),
    *("pytest", "rasterio", "scipy.ndimage", "shapely"),
]

_MOST_MEMORY = 16 << 30  # bytes of address space
_WALL_FACTOR = 10  # a mutant may also wait, which takes no CPU time


@dataclasses.dataclass(frozen=True)
class Outcome:
    """The outcome of a run of tests.

    Attributes:
        exit_code: pytest's; negative for the signal that ended the process.
        cpu_s: CPU seconds that the tests took; the whole limit where they were ended.
        output: The end of what pytest printed.
        is_imported: Whether the tests imported the mutant, if there was one.
    """

    exit_code: int
    cpu_s: float
    output: str
    is_imported: bool

    @property
    def passed(self) -> bool:
        """Whether all tests passed."""
        return self.exit_code == 0

    @property
    def ended(self) -> bool:
        """Whether the tests were ended at a limit."""
        return self.exit_code < 0


def run_tests(tests: Sequence[str], limit_s: float, mutant: tuple[str, str] | None = None) -> Outcome:
    """Runs test files until one fails.

    Args:
        tests: Arguments of pytest: the files, relative to the repository, which is the current folder.
        limit_s: CPU seconds after which the run is ended.
        mutant: (path, source) of the file that is replaced; None to run the code as it is.

    Returns:
        The outcome.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(LIBRARIES)
    receiver, sender = context.Pipe(duplex=False)
    with tempfile.TemporaryDirectory() as folder:
        process = context.Process(target=_run, args=(sender, folder, list(tests), limit_s, mutant))
        process.start()
        sender.close()
        process.join(_WALL_FACTOR * limit_s)
        if process.is_alive():
            process.kill()
            process.join()
        output = Path(folder, "output").read_text(encoding="utf-8", errors="replace")[-2000:]
        try:
            exit_code, cpu_s, is_imported = receiver.recv()
        except EOFError:
            # Ended by a signal, or by a mutant that calls exit: whatever it was, it is not passed.
            exit_code, cpu_s, is_imported = -abs(process.exitcode or 1), limit_s, True
        receiver.close()
        return Outcome(exit_code, cpu_s, output, is_imported)


def _run(
    sender: Connection, folder: str, tests: list[str], limit_s: float, mutant: tuple[str, str] | None
) -> None:
    output = os.open(Path(folder, "output"), os.O_WRONLY | os.O_CREAT)
    os.dup2(output, 1)
    os.dup2(output, 2)
    os.environ["HYPOTHESIS_STORAGE_DIRECTORY"] = folder
    os.environ["TMPDIR"] = tempfile.tempdir = folder
    before = resource.getrusage(resource.RUSAGE_SELF)
    resource.setrlimit(resource.RLIMIT_CPU, (int(before.ru_utime + before.ru_stime + limit_s) + 1,) * 2)
    resource.setrlimit(resource.RLIMIT_AS, (_MOST_MEMORY,) * 2)
    sys.dont_write_bytecode = (
        False  # where it is True, each mutant would have all other modules compiled again
    )
    finder = None if mutant is None else _MutantFinder(*mutant)
    if finder is not None:
        sys.meta_path.insert(0, finder)
    import hypothesis
    import pytest

    # That an example fails is enough: to look for a smaller one takes longer than all the rest.
    phases = [hypothesis.Phase.explicit, hypothesis.Phase.generate]
    hypothesis.settings.register_profile("mutants", phases=phases)
    hypothesis.settings.load_profile("mutants")
    flags = ["-x", "-q", "-p", "no:cacheprovider", "--hypothesis-seed=0", f"--basetemp={folder}/pytest"]
    exit_code = int(pytest.main([*flags, *tests]))
    after = resource.getrusage(resource.RUSAGE_SELF)
    spent_s = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    sender.send((exit_code, spent_s, finder is None or finder.was_asked))


class _MutantFinder(importlib.abc.MetaPathFinder):
    """Finds one module, with the mutant's source.

    Attributes:
        was_asked: Whether the module was imported.
    """

    def __init__(self, path: str, source: str) -> None:
        self.was_asked = False
        self._name = path.removesuffix(".py").replace("/", ".")
        self._path = str(Path(path).resolve())
        self._source = source

    def find_spec(
        self, fullname: str, path: object = None, target: types.ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if fullname != self._name:
            return None
        self.was_asked = True
        loader = _MutantLoader(fullname, self._path, self._source)
        return importlib.util.spec_from_file_location(fullname, self._path, loader=loader)


class _MutantLoader(importlib.machinery.SourceFileLoader):
    """Loads a module from a text in place of its file."""

    def __init__(self, fullname: str, path: str, source: str) -> None:
        super().__init__(fullname, path)
        self._source = source

    def get_code(self, fullname: str) -> types.CodeType:
        return compile(self._source, self.path, "exec", dont_inherit=True)
