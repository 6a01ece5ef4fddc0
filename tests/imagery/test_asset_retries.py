"""The retries of opening, reading and fetching an asset, without a network: every fault is scripted."""

from collections.abc import Iterator, Sequence
from typing import Any

import pytest

from beam_pipeline.imagery.asset_retries import FRESH_COPIES, AssetReader
from beam_pipeline.imagery.opened_asset import OpenedAsset
from beam_pipeline.imagery.read_faults import Asset, Undecodable
from beam_pipeline.runtime.faults import Fault, PermanentFault, TransientFault
from beam_pipeline.runtime.retries import RetryAfterFault, RetryPolicy
from beam_pipeline.runtime.traffic import Traffic

LOST = TransientFault("connection", "lost")
FLIPPED = Undecodable("corrupt", "flipped")
PASSES = None


class Scripted(OpenedAsset):
    """An asset whose openings and readings end as a script says; beyond its end everything passes."""

    def __init__(self, href: str, script: Sequence[tuple[str, Fault | None]] = ()) -> None:
        super().__init__(Asset.of_href(href), "B02", 1.0, Traffic())
        self.did: list[str] = []
        self._script: Iterator[tuple[str, Fault | None]] = iter(script)

    def _end(self, what: str) -> None:
        self.did.append(what)
        meant, fault = next(self._script, (what, PASSES))
        assert meant == what
        if fault is not None:
            raise fault

    def open(self) -> None:
        self._end("open")

    def read(self, step: Any, *_: Any) -> Any:
        self._end("read")
        return step("dataset")


def read(asset: OpenedAsset, attempts: int, traffic: Traffic, waits: list[float]) -> object:
    with AssetReader(
        asset, RetryPolicy(attempts, base_s=1.0, cap_s=64.0, sleep=waits.append), traffic
    ) as reader:
        return reader.read(lambda dataset: f"pixels of {dataset}")


REMOTE, LOCAL = "https://host/a.tif", "/data/a.tif"


def test_what_passes_is_tried_once() -> None:
    waits: list[float] = []
    traffic, asset = Traffic(), Scripted(REMOTE)
    assert read(asset, 3, traffic, waits) == "pixels of dataset"
    assert (asset.did, waits, traffic.take_retried()) == (["open", "read"], [], {})


def test_each_try_of_reading_has_all_tries_of_opening() -> None:
    waits: list[float] = []
    traffic = Traffic()
    one_read = [("open", LOST), ("open", LOST), ("open", PASSES)]
    asset = Scripted(REMOTE, [*one_read, ("read", LOST)] * 2 + [*one_read, ("read", PASSES)])
    assert read(asset, 3, traffic, waits) == "pixels of dataset"
    assert len(waits) == 8
    limits = [1, 2, 1, 1, 2, 2, 1, 2]  # of opening, of opening, of reading, ...
    assert all(0 < wait <= limit for wait, limit in zip(waits, limits, strict=True))
    assert traffic.take_retried() == {"connection": 8}


@pytest.mark.parametrize(
    ("script", "did"),
    [
        ([("open", LOST)] * 3, ["open"] * 3),
        ([("open", PASSES), ("read", LOST)] * 3, ["open", "read"] * 3),
        # What is used up in opening does not begin anew in reading.
        ([("open", PASSES), ("read", LOST), *[("open", LOST)] * 3], ["open", "read", *["open"] * 3]),
    ],
    ids=["opening", "reading", "both"],
)
def test_gives_up_with_the_last_fault(script: list[tuple[str, Fault | None]], did: list[str]) -> None:
    waits: list[float] = []
    asset = Scripted(REMOTE, script)
    with pytest.raises(TransientFault) as caught:
        read(asset, 3, Traffic(), waits)
    assert caught.value is LOST
    assert asset.did == did
    assert len(waits) == (3 if did[-2:] == ["open", "open"] and "read" in did else 2)


def test_each_copy_has_all_tries_of_reading() -> None:
    waits: list[float] = []
    traffic = Traffic()
    passes = ("open", PASSES)
    copy = [passes, ("read", LOST), passes, ("read", LOST), passes, ("read", FLIPPED)]
    asset = Scripted(REMOTE, copy * (FRESH_COPIES - 1) + [passes, ("read", LOST)])
    assert read(asset, 3, traffic, waits) == "pixels of dataset"
    limits = [1, 2, 1, 1, 2, 2, 1, 2, 4, 1]  # of reading, of reading, of the copy, ...
    assert all(0 < wait <= limit for wait, limit in zip(waits, limits, strict=True))
    assert traffic.take_retried() == {"connection": 7, "corrupt": 3}


@pytest.mark.parametrize("place", ["open", "read"])
@pytest.mark.parametrize("href", [REMOTE, LOCAL])
def test_the_last_copy_decides(place: str, href: str) -> None:
    waits: list[float] = []
    traffic = Traffic()
    asset = Scripted(
        href, [*([("open", PASSES)] if place == "read" else []), (place, FLIPPED)] * FRESH_COPIES
    )
    with pytest.raises(PermanentFault, match="corrupt: flipped") as caught:
        read(asset, 2, traffic, waits)
    assert not isinstance(caught.value, Undecodable)
    assert asset.did.count(place) == FRESH_COPIES
    assert traffic.take_retried() == {"corrupt": FRESH_COPIES - 1}
    # A file on this machine is no better for waiting.
    assert len(waits) == (0 if href == LOCAL else FRESH_COPIES - 1)


def test_what_is_permanent_is_tried_once() -> None:
    asset = Scripted(REMOTE, [("open", PermanentFault("not_found", "404"))])
    with pytest.raises(PermanentFault):
        read(asset, 3, Traffic(), [])
    assert asset.did == ["open"]


def test_what_a_host_asks_for_is_waited_for() -> None:
    waits: list[float] = []
    busy = RetryAfterFault("throttled", "429", 7.0)
    read(Scripted(REMOTE, [("open", busy), ("open", PASSES), ("read", busy)]), 2, Traffic(), waits)
    assert waits == [7.0, 7.0]
