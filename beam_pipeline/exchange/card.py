"""The format `card`: a dataset card and a Croissant file for the TFRecords themselves, which are not copied.

They are no part of a build: its folder may be one in which people keep a README of their own.
"""

import dataclasses
import hashlib
from collections.abc import Iterable, Iterator

from beam_pipeline.dataset.folder import DATASET_FILE, FEATURES_FILE
from beam_pipeline.exchange.croissant import croissant_json, tfrecord_resources
from beam_pipeline.exchange.dataset_card import tfrecord_card
from beam_pipeline.exchange.facts import read_facts
from beam_pipeline.exchange.format import Format
from beam_pipeline.exchange.names import CARD_FILE, CROISSANT_FILE
from beam_pipeline.exchange.output import ShardOutput, WholeOutput
from beam_pipeline.exchange.record import ShardRecord
from beam_pipeline.exchange.source import SourceDataset, SourceExample
from beam_pipeline.records.description import Shard
from beam_pipeline.records.example_ids import read_ids
from beam_pipeline.records.shards import record_places


@dataclasses.dataclass(frozen=True)
class Card(Format):
    """README.md and croissant.json, to be put beside the shards of a dataset."""

    name = "card"
    help = "a dataset card and croissant.json for the TFRecords themselves, to be copied into the dataset's folder"
    whole_files = (CARD_FILE, CROISSANT_FILE)

    def check(self, source: SourceDataset) -> None:
        """Refuses a dataset whose description cannot be told."""
        read_facts(source)

    def write_shard(
        self, source: SourceDataset, shard: Shard, examples: Iterator[SourceExample], output: ShardOutput
    ) -> None:
        """Writes nothing; goes through the heads of the examples, and sees that there are as many as it is said."""
        del examples  # reading them takes hours, and a card says nothing of one of them
        path, before = source.folder.at(shard.name), None
        with source.folder.files.open_ranges(path) as file:
            for place in record_places(file, path):
                cell_id, _ = read_ids(file, place, path)
                if cell_id != before:
                    output.wrote_cell(cell_id)
                before = cell_id

    def finish(self, source: SourceDataset, records: Iterable[ShardRecord], output: WholeOutput) -> None:
        """Writes the card and the Croissant file."""
        facts, folder = read_facts(source), source.folder
        sha256 = {
            name: hashlib.sha256(folder.read_bytes(name)).hexdigest()
            for name in (DATASET_FILE, FEATURES_FILE)
            if folder.exists(name)
        }
        output.write(CARD_FILE, tfrecord_card(facts).encode())
        output.write(CROISSANT_FILE, croissant_json(facts, tfrecord_resources(facts, sha256)).encode())
