"""Which versions of the data format are read, and what is said of the others."""

import pytest

from beam_pipeline.records.schema import SCHEMA_VERSION
from beam_pipeline.records.version import CONTENTS, CURRENT, Version, require_readable
from beam_pipeline.runtime.faults import InvalidInputError


def test_versions_are_in_the_order_of_their_numbers() -> None:
    texts = ["0.9.0", "1.0.0", "1.0.10", "1.1.0", "1.2.0", "1.10.0", "2.0.0", "10.0.0"]
    assert sorted(sorted(texts), key=Version.parse) == texts != sorted(texts)
    assert [str(Version.parse(text)) for text in texts] == texts
    assert (Version.parse("1"), Version.parse("1.2")) == (Version(1, 0, 0), Version(1, 2, 0))


def test_a_later_patch_holds_nothing_new() -> None:
    assert str(CURRENT) == SCHEMA_VERSION
    assert CONTENTS <= CURRENT
    newer = [CURRENT._replace(minor=CURRENT.minor + 1), CURRENT._replace(major=CURRENT.major + 1)]
    assert [it.is_newer for it in newer] == [True, True]
    older = [CURRENT, CURRENT._replace(patch=9), Version(1, 0, 0)]
    assert [it.is_newer for it in older] == [False, False, False]


@pytest.mark.parametrize("text", ["1.0.0", "1.1.0", "1.7.3", "1"])
def test_every_version_of_this_major_is_read(text: str) -> None:
    require_readable(text, "set/dataset.json")


@pytest.mark.parametrize(
    "text", ["2.0.0", "0.9.0", "10.0.0", "", "x", "1.1.0.0", " 1.1.0", "1.1.0\n", "9" * 5000]
)
def test_any_other_is_refused_and_both_are_named(text: str) -> None:
    with pytest.raises(InvalidInputError) as raised:
        require_readable(text, "set/dataset.json")
    said = str(raised.value)
    assert said.startswith("set/dataset.json: schema_version must be 1.x.x, which is what this program, of ")
    assert f"of {SCHEMA_VERSION}, reads. Received: {text[:20]!r}"[:-1] in said
    assert len(said) < 300
