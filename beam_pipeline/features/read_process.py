"""Reads an extract in a process of its own, and tells what of the machine it takes.

libosmium holds Python's lock for minutes, and a file that makes it crash ends its process: neither may happen to a
worker.
"""

import dataclasses
import os
import signal
import tempfile
from collections.abc import Sequence
from pathlib import Path

from beam_pipeline.features.extract_cut import cut_extract, is_worth_a_cut, neighbourhood
from beam_pipeline.features.identity import StoreRequest
from beam_pipeline.features.parting import part_extract
from beam_pipeline.features.piece import PieceRecord
from beam_pipeline.labels.extract import ExtractInfo, check_extract, index_disk_bytes
from beam_pipeline.labels.node_index import MAKE_ROOM, require_disk
from beam_pipeline.labels.pbf_checks import check_blocks
from beam_pipeline.runtime.byte_counts import shown_bytes
from beam_pipeline.runtime.child_process import ChildEnded, call_in_child
from beam_pipeline.runtime.faults import Fault, InvalidInputError, PermanentFault, TransientFault
from beam_pipeline.runtime.free_room import free_memory
from beam_pipeline.runtime.machine_turns import machine_turn
from beam_pipeline.runtime.storage_failures import is_full, storage_failure

READING_LINES = ((200e6, 3.5), (700e6, 0.7))
"""Bytes of memory to read an extract, and for each byte of it; the lesser of both counts: tables by id are soon full.

This and what follows is measured by `python tests/benchmarks/planet.py`, without the locations of nodes."""

PARTING_BYTES_A_BYTE = 5.0
"""Of disk for each byte of the file that is read: the pieces, and their rows before they are sorted by tile."""

CUTTING_LINES = ((150e6, 1.0), (4e9, 0.0))
"""Likewise to cut it: osmium-tool keeps sets of ids, two of nodes and two of ways, a bit for each up to the highest."""

_CRASHES = (signal.SIGSEGV, signal.SIGABRT, signal.SIGILL, signal.SIGFPE)
_OUT_OF_MEMORY = "bad_alloc"  # C++'s error


@dataclasses.dataclass(frozen=True)
class ReadLimits:
    """The resources of a machine that reading extracts may take.

    Attributes:
        index_folder: Where temporary files of an extract's size and more lie; "" for the folder of temporary files.
        at_once: How many extracts the processes of this machine read at once.
    """

    index_folder: str = ""
    at_once: int = 1

    def scratch(self) -> str:
        """Returns the folder of temporary files, which is made where a worker's disk is new.

        Raises:
            OSError: It cannot be made.
        """
        folder = self.index_folder or tempfile.gettempdir()
        os.makedirs(folder, exist_ok=True)
        return folder


def read_extract(
    path: str, request: StoreRequest, folder: str | os.PathLike[str], limits: ReadLimits
) -> PieceRecord:
    """Writes what an extract holds near the cells, a file a tile, in a process of its own.

    Args:
        path: A local `.osm.pbf` file.
        request: What is wanted.
        folder: Where the files go, as `part_extract` writes them.
        limits: What it may take of the machine. It waits for its turn.

    Returns:
        What `part_extract` returns.

    Raises:
        PermanentFault: As `part_extract`; "crashed_reader": the file makes the process crash.
        TransientFault: "no_memory" or "no_disk": the machine has too little, which may be seen before or on the way;
            "stopped_reader": somebody ended the process; "storage": a disk fails.
    """
    name = Path(path).name
    try:
        scratch = limits.scratch()
        # Removed here, however the child ends.
        with machine_turn("reading", limits.at_once), tempfile.TemporaryDirectory(dir=scratch) as own:
            return call_in_child(cut_and_part, path, request, str(folder), own)
    except Exception as error:
        fault = fault_of(error, name, limits.index_folder or tempfile.gettempdir())
        if fault is None or fault is error:
            raise
        raise fault from error


def fault_of(error: Exception, name: str, scratch: str) -> Fault | None:
    """Returns what a failed reading means for who wants the extract.

    Args:
        error: What `call_in_child` raised.
        name: The extract's.
        scratch: The folder of large temporary files.

    Returns:
        A fault; None where the error is one of the program.
    """
    if isinstance(error, Fault):
        return error
    ended = error.code if isinstance(error, ChildEnded) else 0
    said = error.said if isinstance(error, ChildEnded) else str(error)
    if isinstance(error, MemoryError) or ended == -signal.SIGKILL or _OUT_OF_MEMORY in said:
        return TransientFault(
            "no_memory",
            f"{name}: memory ran out while it was read ({_how(error)}). Give workers more memory, or smaller "
            "extracts",
        )
    if is_full(OSError(said)) or is_full(error) or ended == -signal.SIGBUS:
        # A file that is mapped into memory cannot be told of a full disk otherwise than by SIGBUS.
        return TransientFault(
            "no_disk",
            f"{name}: the disk of {scratch} became full while it was read ({_how(error)}). {MAKE_ROOM}",
        )
    if -ended in _CRASHES:
        return PermanentFault(
            "crashed_reader",
            f"{name}: the process that read it ended {error}. The file is damaged: download or make it again",
        )
    if isinstance(error, ChildEnded):
        return TransientFault(
            "stopped_reader", f"{name}: the process that read it ended {error} {said.strip()[-500:]}".rstrip()
        )
    if isinstance(error, InvalidInputError):
        return PermanentFault("corrupt_extract", str(error))
    if failure := storage_failure(error):
        return TransientFault("storage", f"{name}: {failure}")
    return None


def _how(error: Exception) -> str:
    return f"it ended {error}" if isinstance(error, ChildEnded) else str(error) or type(error).__name__


def cut_and_part(path: str, request: StoreRequest, folder: str, scratch: str) -> PieceRecord:
    """Does the work of `read_extract`, in this process.

    Args:
        path: As there.
        request: As there.
        folder: As there.
        scratch: An empty folder for large temporary files.

    Returns:
        As there.

    Raises:
        Fault: As there, but for what ends the process.
    """
    if not os.path.isfile(path):
        raise PermanentFault("missing_extract", f"{Path(path).name}: there is no such file")
    original = check_extract(path)
    area = neighbourhood(request.cells)
    if not is_worth_a_cut(path, original.bounds, area):
        return _part(path, request, folder, scratch, original)
    # A file out of order, or with an object twice, would not be known by its cut.
    if check_blocks(path).has_negative:
        # Neither osmium-tool nor pyosmium cuts a file with ids below 0.
        return _part(path, request, folder, scratch, original)
    require_memory(CUTTING_LINES, original.size, f"To cut {original.name} takes")
    require_disk(original.size, scratch, f"A cut of {original.name} takes up to")
    with cut_extract(path, area, Path(scratch)) as cut:
        return _part(str(cut), request, folder, scratch, original)


def _part(path: str, request: StoreRequest, folder: str, scratch: str, original: ExtractInfo) -> PieceRecord:
    """Parts an extract, or a cut of one."""
    size = os.path.getsize(path)
    name = original.name
    require_memory(READING_LINES, size, f"To read {name} takes")
    needed_bytes = round(PARTING_BYTES_A_BYTE * size)
    if os.stat(folder).st_dev == os.stat(scratch).st_dev:
        needed_bytes += index_disk_bytes(path)  # else its own check is enough
    require_disk(needed_bytes, folder, f"To part {name} by tile takes")
    return part_extract(path, request, Path(folder), original=original, index_folder=scratch)


def require_memory(lines: Sequence[tuple[float, float]], size: int, what: str) -> None:
    """Looks for memory.

    Args:
        lines: (bytes, and bytes for each byte of a file) each; the least that they give is needed.
        size: Bytes of the file.
        what: Begins the message, up to the number.

    Raises:
        TransientFault: "no_memory".
    """
    needed_bytes = round(min(least + each * size for least, each in lines))
    if (free := free_memory()) < needed_bytes:
        raise TransientFault(
            "no_memory",
            f"{what} about {shown_bytes(needed_bytes)} of memory, and {shown_bytes(free)} are free. Give workers more "
            "memory, or smaller extracts",
        )
