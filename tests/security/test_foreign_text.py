"""Text of others is safe to be shown, logged and stored."""

import io
import logging
import pickle
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from beam_pipeline.audit.findings import Findings
from beam_pipeline.dataset.outcomes import DeadLetter
from beam_pipeline.imagery.scenes import SceneNote
from beam_pipeline.runtime.faults import InvalidInputError, PermanentFault, TransientFault
from beam_pipeline.runtime.foreign_text import hide_secrets_in_logs, one_line, shown, without_secrets
from beam_pipeline.runtime.retries import RetryAfterFault

SECRET = "hunter2"
NASTY = "a\x1b[31mred\x1b[0m\r\nERROR forged line\u202etxt\x9b2J\u2028\ud800"


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        (f"https://u:{SECRET}@host/a.tif", "https://host/a.tif"),
        (f"https://u:p@{SECRET}@host/a.tif", "https://host/a.tif"),
        (f"https://{SECRET}@host:80/a.tif?x=1#y", "https://host:80/a.tif"),
        (f"https://host/a.tif?sv=1&sig={SECRET}%3D, then", "https://host/a.tif then"),
        (f"https://host/a.tif?{SECRET}", "https://host/a.tif"),
        (f"https://host/a#token={SECRET}", "https://host/a"),
        (f"'/vsicurl/http://host/a b.tif?sig={SECRET}' is none", "'/vsicurl/http://host/a b.tif is none"),
        (f"Max retries exceeded with url: /v1?key={SECRET} (x)", "Max retries exceeded with url: /v1 (x)"),
        (f'{{"href": "https://host/a?k={SECRET}", "b": 1}}', '{"href": "https://host/a", "b": 1}'),
        ("What? Is it osm/?.osm.pbf?", "What? Is it osm/?.osm.pbf?"),
        ("me@example.org", "me@example.org"),
    ],
)
def test_urls_are_shown_without_secrets(said: str, expected: str) -> None:
    assert without_secrets(said) == expected
    assert SECRET not in expected


words = st.text("abcXYZ019-._~%+=&;:@,$!*()", max_size=12)


@given(words, words, words, st.text(" \t\"'ab", max_size=5), st.sampled_from(["https", "http", "s3", "ftp"]))
def test_no_url_shows_what_is_secret_in_it(
    user: str, word: str, query: str, around: str, scheme: str
) -> None:
    text = f"{around}{scheme}://{user}:{SECRET}{word}@host/path/a.tif?{query}&k={SECRET}{word} {around}"
    assert SECRET not in shown(text)
    assert "host/path/a.tif" in shown(text)


def test_urls_without_end_take_no_time_without_end() -> None:
    text = "://" * 200_000
    started = time.process_time()
    assert shown(text) == f"{text[:2000]}... (600000 characters)"
    assert shown(f"{text}?key={SECRET} https://u:{SECRET}@host/a?b={SECRET} end", 10**7) == (
        f"{text} https://host/a end"
    )
    assert time.process_time() - started < 10  # the square of it would be half an hour


@given(st.text())
def test_one_line_is_one_printable_line(text: str) -> None:
    line = one_line(text, 50)
    assert line.isprintable()
    assert one_line(line, 1000) == line
    line.encode()  # no lone surrogate
    assert text != line or text.isprintable()


def test_text_without_end_is_cut() -> None:
    assert one_line("x" * 10_000_000).endswith("(10000000 characters)")
    assert len(one_line("x" * 10_000_000)) < 3000


@pytest.mark.parametrize(
    "fault",
    [
        PermanentFault("corrupt", f"{NASTY} https://u:{SECRET}@host/a?{SECRET}"),
        TransientFault("corrupt", f"{NASTY} https://u:{SECRET}@host/a?{SECRET}"),
        RetryAfterFault("corrupt", f"{NASTY} https://u:{SECRET}@host/a?{SECRET}", 1.0),
    ],
)
def test_faults_say_nothing_that_must_not_be_seen(fault: PermanentFault) -> None:
    again = pickle.loads(pickle.dumps(fault))
    note = SceneNote.of(NASTY, fault)
    letter = DeadLetter("unit", 1, 2020, "read", fault.reason, fault.detail).to_json()
    assert vars(again) == vars(fault)
    for said in (fault.detail, str(fault), str(again), note.item_id, note.detail, letter):
        assert said.isprintable()
        assert SECRET not in said


def test_errors_for_people_keep_their_own_lines_and_no_others() -> None:
    error = InvalidInputError("one:", f"two {NASTY} https://host?{SECRET}", "three")
    assert len(str(error).splitlines()) == 3
    assert all(line.isprintable() for line in str(error).split("\n"))
    assert SECRET not in str(error)
    assert str(pickle.loads(pickle.dumps(error))) == str(error)


def test_findings_are_one_line_each() -> None:
    findings = Findings()
    findings.differ("schema", f"summaries/{NASTY}", f"says {NASTY}", 3)
    lines = findings.table().split("\n")
    assert all(line.isprintable() for line in lines)
    assert not any(line.startswith("ERROR") for line in lines)


@pytest.mark.parametrize(
    "name",
    [
        "apache_beam.options.pipeline_options",
        "pystac_client.stac_api_io",
        "rasterio._env",
        "urllib3.connectionpool",
    ],
)
def test_libraries_log_no_secrets_at_any_level(name: str) -> None:
    hide_secrets_in_logs()
    logger, text = logging.getLogger(name), io.StringIO()
    handler, level = logging.StreamHandler(text), logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.DEBUG)
    try:
        logger.debug('%s://%s "%s %s" %d', "https", "host", "GET", f"/v1?key={SECRET}", 200)
        logger.warning("/vsicurl/https://host/a.tif?sig=%s", SECRET)
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)
    assert "/vsicurl/https://host/a.tif" in text.getvalue()
    assert SECRET not in text.getvalue()
