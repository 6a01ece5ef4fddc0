"""The findings of an audit of a dataset: how much was looked at, and every difference by its kind."""

import collections
import dataclasses

from beam_pipeline.runtime.foreign_text import shown

MOST_SHOWN = 5
"""Differences of one kind that are kept whole; the others are only counted."""

LEFTOVER = "leftover"
"""The kind of a file that grew aside and did not get its name."""

NOT_RENAMED = "was left behind by an attempt that was killed, or a run is writing it now"

_UNREADABLE = "unreadable"


@dataclasses.dataclass(frozen=True)
class Difference:
    """Something that is not as it must be.

    Attributes:
        file: Where, relative to the dataset's folder.
        record: Number of the record in a shard, from 0; None where it is of no single record.
        detail: What is wrong, for people.
    """

    file: str
    record: int | None
    detail: str

    def __str__(self) -> str:
        """Returns one line that is safe to be shown, whatever the dataset holds."""
        where = self.file if self.record is None else f"{self.file}, record {self.record}"
        return shown(f"{where}: {self.detail}")


class Findings:
    """Collects what an audit finds, in bounded memory.

    Attributes:
        checked: What was looked at, by name, in order.
        kinds: Number of differences by kind, e.g. "corrupt_shard".
        shown: The first differences of each kind.
        damaged_shards: Names of shards that are not what their summaries say.
        unchecked: By file, what could not be checked because a later version than ours wrote it.
        notes: What is no difference and worth knowing, and how often; 0 for what is not counted.
    """

    def __init__(self) -> None:
        self.checked: collections.Counter[str] = collections.Counter()
        self.kinds: collections.Counter[str] = collections.Counter()
        self.shown: dict[str, list[Difference]] = {}
        self.damaged_shards: list[str] = []
        self.unchecked: dict[str, str] = {}
        self.notes: collections.Counter[str] = collections.Counter()
        self._unreadable: dict[str, str] = {}

    def differ(self, kind: str, file: str, detail: str, record: int | None = None) -> None:
        """Notes a difference."""
        self.kinds[kind] += 1
        shown = self.shown.setdefault(kind, [])
        if len(shown) < MOST_SHOWN:
            shown.append(Difference(file, record, detail))

    def unreadable(self, file: str, detail: str) -> None:
        """Notes that a file cannot be read, once for a file."""
        if file not in self._unreadable:
            self._unreadable[file] = detail
            self.differ(_UNREADABLE, file, detail)

    def leave_unchecked(self, file: str, detail: str) -> None:
        """Notes what is not ours to judge, once for a file."""
        self.unchecked.setdefault(file, detail)

    def note(self, text: str, count: int = 0) -> None:
        """Notes what is no difference and worth knowing."""
        self.notes[text] += count

    def forget(self, kind: str) -> None:
        """Drops the differences of a kind."""
        self.kinds.pop(kind, None)
        self.shown.pop(kind, None)

    def below(self, prefix: str) -> "Findings":
        """Returns the same findings, with what the names of all files begin with."""
        moved = Findings()
        moved.checked, moved.kinds, moved.notes = self.checked, self.kinds, self.notes
        moved.shown = {
            kind: [dataclasses.replace(it, file=prefix + it.file) for it in differences]
            for kind, differences in self.shown.items()
        }
        moved.damaged_shards = [prefix + name for name in self.damaged_shards]
        moved.unchecked = {prefix + file: detail for file, detail in self.unchecked.items()}
        moved._unreadable = {prefix + file: detail for file, detail in self._unreadable.items()}
        return moved

    def merge(self, other: "Findings") -> None:
        """Adds what an audit found that came behind this one, as if one had found all."""
        self.checked.update(other.checked)
        for file, detail in other._unreadable.items():
            self.unreadable(file, detail)
        for kind, count in other.kinds.items():
            if kind != _UNREADABLE:
                self.kinds[kind] += count
                ours = self.shown.setdefault(kind, [])
                ours += other.shown[kind][: MOST_SHOWN - len(ours)]
        self.damaged_shards += other.damaged_shards
        for file, detail in other.unchecked.items():
            self.leave_unchecked(file, detail)
        self.notes.update(other.notes)

    def line(self) -> str:
        """Says in one line what was checked and whether anything differs."""
        looked_at = ", ".join(f"{count} {name.replace('_', ' ')}" for name, count in self.checked.items())
        found = f"{self.kinds.total()} DIFFERENCES" if self.kinds else "no difference"
        return f"{found} in {looked_at}"

    def table(self) -> str:
        """Returns a table of what was checked, and of the differences by kind with the first few of each."""
        rows = [
            ("checked", ""),
            *((f"  {name.replace('_', ' ')}", f"{n}") for name, n in self.checked.items()),
        ]
        rows += [("differences", str(self.kinds.total()))]
        rows += [(f"  {kind}", str(count)) for kind, count in sorted(self.kinds.items())]
        width = max(len(name) for name, _ in rows)
        digits = max(len(count) for _, count in rows)
        lines = [f"{name.ljust(width)}  {count.rjust(digits)}".rstrip() for name, count in rows]
        for kind, differences in sorted(self.shown.items()):
            lines.append(f"{kind}:")
            lines += [f"  {difference}" for difference in differences]
            more = self.kinds[kind] - len(differences)
            lines += [f"  and {more} more"] if more else []
        if self.unchecked:
            lines.append("not checked, as a later version of this program wrote it:")
            lines += [f"  {shown(f'{file}: {detail}')}" for file, detail in self.unchecked.items()]
        lines += [f"{text}: {count}" if count else text for text, count in self.notes.items()]
        if self.damaged_shards:
            lines.append("delete these shards, and the command that built the dataset makes them anew:")
            lines += [f"  {shown(name)}" for name in self.damaged_shards]
        return "\n".join(lines)
