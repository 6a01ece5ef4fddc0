"""Other layouts of the same data: a dataset goes out in a *format*, one shard at a time.

A format is added in four steps:

1. Write a module here with a frozen dataclass that derives from `format.Format`. Its fields are the settings that
   decide what it writes; give each a default. Set `name`, `version` and `help`, and in `packages` what it needs beyond
   the package's own dependencies. Import such packages inside functions: the launcher imports every format.
2. Implement `write_shard`: it takes the examples of one shard, in order, and writes files by `output.write`. Hold no
   more than a cell at a time. Of equal examples it writes equal bytes, at any time and on any machine. It says what it
   did (`output.wrote_cell`, `count`, `leave_out`, `dead_letter`) and returns what `finish` needs to know of the shard,
   as plain JSON. A cell lies in one shard with all its years, so a file of a cell has one writer.
3. Implement `finish`: it writes the files of the whole (a table, a collection, a card) from what all `write_shard`
   returned. It iterates over `records`, as often as it likes, and keeps none: they come in the order of the shards.
4. Add the class to `registry.FORMATS`, its bare counterpart to `tests/benchmarks/export.py`, and a section to
   `docs/exchange.md`.

The frame does the rest: flags, checks before launch, the job, dead letters, going on, licences, the closing table.
"""
