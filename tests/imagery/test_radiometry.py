import json

import numpy as np
import pytest
import rasterio
from hypothesis import given
from hypothesis import strategies as st

from beam_pipeline.imagery.radiometry import (
    DECISIONS,
    dark_share,
    decide_offset,
    find_baseline,
    offset_contradicted,
    to_reflectance,
)
from beam_pipeline.runtime.faults import PermanentFault
from tests.shared_data import shared

# Read off the items by eye: baseline, what the host says, and so what must be added.
REAL_ITEMS = {
    "S2A_29RKH_20200219_0_L2A": ("02.14", 0, "baseline_before_0400"),
    "S2A_31NBJ_20190524_0_L2A": ("02.12", 0, "baseline_before_0400"),
    "S2A_32TMS_20221207_0_L2A": ("05.09", 0, "host_applied"),
    "S2A_33TWN_20161202_0_L2A": ("00.01", 0, "baseline_before_0400"),
    "S2A_33TWN_20190707_1_L2A": ("02.12", 0, "baseline_before_0400"),
    "S2A_33TWN_20200202_0_L2A": ("02.13", 0, "baseline_before_0400"),
    "S2A_33TWN_20210629_0_L2A": ("03.00", 0, "baseline_before_0400"),
    "S2B_20EPT_20250731_0_L2A": ("05.11", 0, "host_applied"),
    "S2B_24MUA_20250731_0_L2A": ("05.11", 0, "host_applied"),
    "S2B_33TWN_20180521_1_L2A": ("02.07", 0, "baseline_before_0400"),
    "S2B_33TWN_20181005_0_L2A": ("02.08", 0, "baseline_before_0400"),
    "S2B_33TWN_20220130_0_L2A": ("04.00", 0, "host_applied"),
    "S2B_33TWN_20220226_0_L2A": ("04.00", -1000, "not_applied"),
    "S2B_T24MUA_20250731T130245_L2A": ("05.11", -1000, "no_flag"),
}


def test_every_real_item_is_decided() -> None:
    files = sorted(shared("stac").glob("*.json"))
    items = [json.loads(path.read_text()) for path in files]
    assert {item["id"] for item in items} == set(REAL_ITEMS)
    for item in items:
        baseline, offset, decision = REAL_ITEMS[item["id"]]
        properties = item["properties"]
        assert find_baseline(properties, item["id"]) == baseline
        assert decide_offset(properties, item["id"]) == (offset, decision)
        assert decision in DECISIONS


def test_what_is_advertised_is_no_evidence() -> None:
    item = json.loads(shared("stac", "S2B_33TWN_20220130_0_L2A.json").read_text())
    assert item["assets"]["red"]["raster:bands"][0]["offset"] == -0.1
    assert decide_offset(item["properties"]) == (0, "host_applied")


@pytest.mark.parametrize(
    ("baseline", "flag", "expected"),
    [
        ("03.99", None, (0, "baseline_before_0400")),
        ("03.01", False, (0, "baseline_before_0400")),
        ("04.00", None, (-1000, "no_flag")),
        ("04.00", False, (-1000, "not_applied")),
        ("05.11", True, (0, "host_applied")),
        ("10.00", False, (-1000, "not_applied")),
    ],
)
def test_the_table(baseline: str, flag: bool | None, expected: tuple[int, str]) -> None:
    properties = {"s2:processing_baseline": baseline, "earthsearch:boa_offset_applied": flag}
    assert decide_offset(properties) == expected


@pytest.mark.parametrize(
    ("properties", "item_id", "baseline"),
    [
        ({"s2:processing_baseline": "05.11"}, "", "05.11"),
        ({"processing:version": "N0511"}, "", "05.11"),
        (
            {"s2:product_uri": "S2A_MSIL2A_20200219T112111_N0214_R037_T29RKH_20200219T123947.SAFE"},
            "",
            "02.14",
        ),
        ({"sentinel:processing_baseline": "05.11", "processing:version": "04.00"}, "", "05.11"),
        (
            {"sentinel:product_id": "S2A_MSIL2A_20190524T100031_N0212_R122_T31NBJ_20190524T130000"},
            "",
            "02.12",
        ),
        (
            {"s2:datastrip_id": "S2B_OPER_MSI_L2A_DS_VGS2_20220226T120000_S20220226T100029_N04.00"},
            "",
            "04.00",
        ),
        ({"s2:granule_id": "S2A_OPER_MSI_L2A_TL_2APS_20210629T120000_A031433_T33TWN_N03.00"}, "", "03.00"),
        ({"s2:datatake_id": "GS2A_20161202T100402_007560_N00.01"}, "", "00.01"),
        ({}, "S2B_MSIL2A_20250731T130249_N0511_R095_T24MUA_20250731T132745", "05.11"),
        ({"processing:version": "latest"}, "S2B_33TWN_20220226_0_L2A", ""),
        ({"processing:version": "05.11"}, "", "05.11"),
        ({"processing:version": "N05.11"}, "", "05.11"),
        # Versions of other processors, alone and beside the product's name.
        *(
            ({"processing:version": version}, "", "")
            for version in ("2.11", "3.05", "0211", "v04.00", 2.11, 511)
        ),
        (
            {"processing:version": "02.11"},
            "S2B_MSIL2A_20250731T130249_N0511_R095_T24MUA_20250731T132745",
            "05.11",
        ),
        # Numbers that have lost their zeros: 5.1 may be 05.01 and 05.10.
        ({"s2:processing_baseline": 5.11}, "", "05.11"),
        *(({"s2:processing_baseline": said}, "", "") for said in (5.1, "5.1", 5, None, True, [], "05.1", "")),
        ({"s2:processing_baseline": 5.1, "s2:datastrip_id": "S2B_OPER_MSI_L2A_DS_X_N05.10"}, "", "05.10"),
    ],
)
def test_the_baseline_is_found_wherever_it_is(properties, item_id, baseline) -> None:
    assert find_baseline(properties, item_id) == baseline


def test_the_flag_of_older_items_counts_too() -> None:
    said = {"sentinel:processing_baseline": "05.11", "sentinel:boa_offset_applied": True}
    assert decide_offset(said) == (0, "host_applied")
    assert decide_offset({**said, "earthsearch:boa_offset_applied": False}) == (-1000, "not_applied")


def test_what_nothing_settles_is_refused() -> None:
    with pytest.raises(PermanentFault, match=r"unknown_baseline: .*Received: none$"):
        decide_offset({"platform": "sentinel-2a"}, "S2A_29RKH_20200219_0_L2A")
    with pytest.raises(PermanentFault, match=r"unknown_baseline: .*Received: s2:processing_baseline 5\.1$"):
        decide_offset({"s2:processing_baseline": 5.1})
    with pytest.raises(PermanentFault, match="bad_offset_flag"):
        decide_offset({"s2:processing_baseline": "05.11", "earthsearch:boa_offset_applied": "true"})


@pytest.mark.parametrize("baseline", ["99.99", "99.33", 99.99])
@pytest.mark.parametrize("flag", [None, False, True])
def test_what_is_no_product_of_esa_is_refused_as_such(baseline: object, flag: bool | None) -> None:
    """It would have the highest baseline of all."""
    said = {"s2:processing_baseline": baseline, "earthsearch:boa_offset_applied": flag}
    with pytest.raises(PermanentFault, match=r"unofficial_baseline: the processing baseline 99\."):
        decide_offset(said, "S2A_MSIL2A_20210908T100031_N9999_R122_T33TWN_20210909T000000")


def manila(date: str) -> tuple[np.ndarray, np.ndarray]:
    folder = shared("manila", date)
    bands = []
    for band in ("B02", "B03", "B04", "B08"):
        with rasterio.open(folder / f"{band}.tif") as source:
            bands.append(source.read(1))
    with rasterio.open(folder / "SCL.tif") as source:
        return np.stack(bands, axis=-1), source.read(1)


@pytest.mark.parametrize("date", ["date_a", "date_b"])
def test_real_pixels_contradict_a_wrong_flag_only(date: str) -> None:
    dn, scl = manila(date)
    for row in (0, 288):
        for column in (0, 288):
            chip = dn[row : row + 192, column : column + 192]
            classes = scl[row // 2 : row // 2 + 96, column // 2 : column // 2 + 96]
            if not np.isin(classes, (4, 5, 6)).any():
                continue
            # Its DN hold no offset: "not applied" would be wrong, and right with 1000 added.
            assert offset_contradicted(chip, classes)
            assert not offset_contradicted(chip + np.uint16(1000), classes)


@pytest.mark.parametrize(
    ("visible", "scl", "share"),
    [
        ([[2, 2, 2]], [4], 1.0),  # the darkest that there is
        ([[1, 1, 1]], [4], None),  # no data
        ([[0, 1, 2]], [4], 1.0),
        ([[999, 999, 999], [999, 999, 1000]], [5, 6], 0.5),
        ([[999, 999, 999], [0, 0, 0]], [4, 4], 1.0),  # nothing is known of the second
        ([[0, 999, 0], [2000, 2000, 2000]], [4, 4], 0.5),
        ([[999, 999, 999]] * 2, [9, 11], None),
    ],
)
def test_how_many_clear_pixels_are_too_dark(
    visible: list[list[int]], scl: list[int], share: float | None
) -> None:
    assert dark_share(np.array([visible], np.uint16), np.array([scl], np.uint8)) == share


def test_one_dark_pixel_in_twenty_contradicts_nothing() -> None:
    dn = np.full((20, 20, 4), 1000, np.uint16)
    dn[:, 0] = 999
    dn[..., 3] = 1  # near infrared is not looked at
    scl = np.full((10, 10), 5, np.uint8)
    assert not offset_contradicted(dn, scl)
    dn[0, 1, :3] = 999
    assert offset_contradicted(dn, scl)


def test_nothing_clear_contradicts_nothing() -> None:
    dn = np.full((192, 192, 4), 10, np.uint16)
    assert not offset_contradicted(dn, np.full((96, 96), 9, np.uint8))
    assert not offset_contradicted(np.zeros_like(dn), np.full((96, 96), 4, np.uint8))


@given(st.integers(0, 65535), st.sampled_from([0, -1000]))
def test_reflectance_never_wraps(dn: int, offset: int) -> None:
    reflectance = to_reflectance(np.array([dn], np.uint16), offset)
    assert reflectance.dtype == np.float32
    assert reflectance[0] == pytest.approx((dn + offset) / 10000, rel=1e-6, abs=1e-7)
