"""Which buckets of S3 are read, and how: those that are named, over HTTPS, without an account."""

import copy
import dataclasses
from typing import Any

import pytest

from beam_pipeline.imagery.buckets import EXAMPLE, PUBLIC_BUCKETS, parse_buckets
from beam_pipeline.imagery.catalog_settings import CatalogSettings
from beam_pipeline.imagery.hrefs import readable_href
from beam_pipeline.imagery.stac_item import parse_item
from beam_pipeline.runtime.faults import InvalidInputError, PermanentFault
from beam_pipeline.runtime.reach import WEB, Reach
from tests.fuzz.test_decoders import ITEM

AFRICA = "https://deafrica-sentinel-2.s3.af-south-1.amazonaws.com"
BUCKETS = {**PUBLIC_BUCKETS, **dict(parse_buckets(EXAMPLE, WEB))}


def in_bucket(more: dict[str, Any] | None = None, properties: dict[str, Any] | None = None) -> dict[str, Any]:
    """An item whose red lies in the bucket of Digital Earth Africa."""
    item = copy.deepcopy(ITEM)
    item["assets"]["red"] = {"href": "s3://deafrica-sentinel-2/Sentinel-2/B04.tif", **(more or {})}
    item["properties"].update(properties or {})
    return item


def test_a_bucket_that_is_named_is_read_over_https() -> None:
    assert parse_item(in_bucket(), "33TWN", buckets=BUCKETS).assets["B04"] == f"{AFRICA}/Sentinel-2/B04.tif"
    with pytest.raises(
        PermanentFault, match=r"unreadable_href.*--public_buckets deafrica-sentinel-2=https://HOST"
    ):
        parse_item(in_bucket(), "33TWN")


@pytest.mark.parametrize(
    "path", ["../private/a.tif", "x/../../private/a.tif", "%2e%2e/private/a.tif", "./a.tif"]
)
def test_a_path_does_not_lead_to_another_bucket(path: str) -> None:
    with pytest.raises(PermanentFault, match="out of the bucket"):
        readable_href(f"s3://one/{path}", "", buckets={"one": "https://s3.example.org/one"})


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("deafrica-sentinel-2", "NAME=URL"),
        ("=https://host", "NAME=URL"),
        ("Bucket_1=https://host", "NAME=URL"),
        ("bucket=s3://bucket", "NAME=URL"),
        ("bucket=host.example.org", "NAME=URL"),
        ("bucket=https://key:secret@host.example.org", "without user and query"),
        ("bucket=https://host.example.org?X-Amz-Signature=secret", "without user and query"),
        ("bucket=http://host.example.org", "over https"),
        ("bucket=https://10.0.0.7", "--allow_own_network"),
        ("bucket=https://169.254.169.254/latest", "never asked"),
        ("bucket=https://a.example,bucket=https://b.example", "twice"),
    ],
)
def test_no_bucket(text: str, said: str) -> None:
    with pytest.raises(InvalidInputError, match=said) as raised:
        parse_buckets(text, WEB)
    assert "secret" not in str(raised.value)


def test_buckets_of_ones_own_network() -> None:
    own = Reach("http://10.0.0.5/v1")
    assert parse_buckets("bucket=http://10.0.0.7:9000/bucket/ , b-2=https://x.example", own) == (
        ("b-2", "https://x.example"),
        ("bucket", "http://10.0.0.7:9000/bucket"),
    )
    # Should a catalogue of the web be asked with them: the host is judged once more.
    with pytest.raises(PermanentFault, match="--allow_own_network"):
        readable_href("s3://bucket/a.tif", "", WEB, {"bucket": "http://10.0.0.7:9000/bucket"})


@pytest.mark.parametrize(
    "item",
    [
        in_bucket({"storage:requester_pays": True}),
        in_bucket(properties={"storage:requester_pays": True}),
        in_bucket({"storage:refs": ["aws"]}, {"storage:schemes": {"aws": {"requester_pays": True}}}),
    ],
)
def test_a_bucket_whose_readers_pay_is_refused(item: dict[str, Any]) -> None:
    with pytest.raises(PermanentFault, match=r"unreadable_href.*requester pays"):
        parse_item(item, "33TWN", buckets=BUCKETS)


@pytest.mark.parametrize(
    "item",
    [
        in_bucket({"storage:requester_pays": False}, {"storage:requester_pays": True}),
        in_bucket(
            {"storage:refs": ["aws", 1]}, {"storage:schemes": {"aws": {}, "b": {"requester_pays": True}}}
        ),
        in_bucket({"storage:refs": "aws"}, {"storage:schemes": []}),
    ],
)
def test_a_bucket_that_is_free_is_read(item: dict[str, Any]) -> None:
    assert parse_item(item, "33TWN", buckets=BUCKETS).assets["B04"].startswith(AFRICA)


def test_buckets_are_part_of_what_a_dataset_is_of() -> None:
    """Without them other items would be refused."""
    plain = CatalogSettings("https://explorer.digitalearth.africa/stac", "s2_l2a")
    named = dataclasses.replace(plain, buckets=parse_buckets(EXAMPLE, WEB))
    assert plain.named_buckets == ""
    assert named.named_buckets == f" deafrica-sentinel-2={AFRICA}"
    others = dataclasses.replace(plain, sas_token_url="https://a.example/token", token_hosts=("b.example",))
    assert others.named_buckets == ""


def test_jpeg_2000_is_called_by_its_name() -> None:
    with pytest.raises(PermanentFault, match="JPEG 2000, and only GeoTIFFs"):
        readable_href("https://host.example.org/B04.jp2", "")
    with pytest.raises(PermanentFault, match=r"Copernicus Data Space \(CDSE\) holds JPEG 2000"):
        readable_href("s3://eodata/Sentinel-2/MSI/L2A/B04_10m.jp2", "")
