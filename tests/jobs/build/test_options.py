import datetime
from pathlib import Path

import pytest
from apache_beam.options.pipeline_options import GoogleCloudOptions, StandardOptions

from beam_pipeline.imagery.chips import FilterSettings
from beam_pipeline.jobs.build.options import (
    build_parser,
    build_settings,
    parse_build_flags,
    parse_scl_classes,
    parse_years,
)
from beam_pipeline.jobs.given_overpass import parse_osm_date
from beam_pipeline.jobs.runners import is_dataflow, runs_locally
from beam_pipeline.jobs.select.options import selection_parser
from beam_pipeline.labels.ontology import DEFAULT_ONTOLOGY, Ontology, shipped_ontology
from beam_pipeline.runtime.faults import InvalidInputError
from beam_pipeline.runtime.keyed_hash import keyed_hash

NEEDED = ["--output", "out", "--osm", "a.osm.pbf"]


@pytest.mark.parametrize(
    ("text", "years"),
    [
        ("2019", (2019,)),
        ("2017-2020", (2017, 2018, 2019, 2020)),
        ("2021, 2018-2019,2018", (2018, 2019, 2021)),
    ],
)
def test_years(text: str, years: tuple[int, ...]) -> None:
    assert parse_years(text) == years


@pytest.mark.parametrize("text", ["", "19", "2020-2018", "2014", "2019;2020", "2019-", "9999", "twenty"])
def test_bad_years_are_named(text: str) -> None:
    with pytest.raises(InvalidInputError, match="--years"):
        parse_years(text)


def test_next_year_is_no_year() -> None:
    this_year = datetime.datetime.now(datetime.UTC).year
    assert parse_years(str(this_year)) == (this_year,)
    with pytest.raises(InvalidInputError):
        parse_years(str(this_year + 1))


@pytest.mark.parametrize(
    ("text", "asked"),
    [
        ("2019-07-01", "2019-07-01T00:00:00Z"),
        ("2020-02-29T23:59:59Z", "2020-02-29T23:59:59Z"),
        ("2012-09-12", "2012-09-12T00:00:00Z"),
    ],
)
def test_a_date_of_the_map_is_a_time_in_utc(text: str, asked: str) -> None:
    flags = ["--output", "out", "--osm", "overpass", "--osm_date", text]
    assert build_settings(*parse_build_flags(flags)).osm_date == asked


@pytest.mark.parametrize(
    ("text", "said"),
    [
        *(
            (text, "takes a day or a time in UTC")
            for text in ("", "2019", "2019-7-1", "01.07.2019", "2019-02-30")
        ),
        *(
            (text, "takes a day or a time in UTC")
            for text in ("2019-07-01T00:00:00", "2019-07-01T00:00:00+02:00")
        ),
        *(
            (text, "takes a day or a time in UTC")
            for text in ("2019-07-01 ", '2019-07-01"];out;', "٢٠١٩-07-01")
        ),
        ("2012-09-11", "must lie between 2012-09-12"),
        ("9999-12-31", "must lie between 2012-09-12"),
    ],
)
def test_what_is_no_date_of_the_map_is_refused(text: str, said: str) -> None:
    with pytest.raises(InvalidInputError, match=f"--osm_date {said}"):
        build_settings(*parse_build_flags(["--output", "out", "--osm", "overpass", f"--osm_date={text}"]))


def test_tomorrow_has_no_map() -> None:
    now = datetime.datetime.now(datetime.UTC)
    day = datetime.timedelta(days=1)
    assert parse_osm_date(f"{now - day:%Y-%m-%d}", overpass=True) < parse_osm_date(
        f"{now:%Y-%m-%d}", overpass=True
    )
    with pytest.raises(InvalidInputError, match="and now"):
        parse_osm_date(f"{now + day:%Y-%m-%d}", overpass=True)


def test_an_extract_has_a_date_of_its_own() -> None:
    with pytest.raises(
        InvalidInputError, match=r"osmium time-filter \S+ 2019-07-01T00:00:00Z -o \S+ "
    ) as caught:
        build_settings(*parse_build_flags([*NEEDED, "--osm_date", "2019-07-01"]))
    # osmium-tool itself leaves the header without a date, and the fingerprint with it.
    assert str(caught.value).endswith("--output-header osmosis_replication_timestamp=2019-07-01T00:00:00Z")


def test_scl_classes() -> None:
    assert parse_scl_classes("3, 1,3") == (1, 3)
    assert parse_scl_classes("") == parse_scl_classes("none") == ()
    for text in ("0", "12", "x", "1.5", "-1", "none,3"):
        with pytest.raises(InvalidInputError, match="--bad_scl"):
            parse_scl_classes(text)


def test_the_default_runner_waits_for_no_download() -> None:
    _, options = parse_build_flags(NEEDED)
    assert options.view_as(StandardOptions).runner == "FnApiRunner"
    assert runs_locally(options)
    assert not is_dataflow(options)
    assert runs_locally(parse_build_flags([*NEEDED, "--runner=DirectRunner"])[1])
    _, dataflow = parse_build_flags([*NEEDED, "--runner=DataflowRunner"])
    assert is_dataflow(dataflow)
    assert not runs_locally(dataflow)


@pytest.mark.parametrize(
    ("flags", "area", "region"),
    [
        (["--area", "9.4,47.0,9.7,47.3"], "9.4,47.0,9.7,47.3", None),
        (["--area", "-9.4,-47.0,9.7,47.3"], "-9.4,-47.0,9.7,47.3", None),
        (["--area=-9.4,-47.0,9.7,47.3"], "-9.4,-47.0,9.7,47.3", None),
        (["--area", "-.5,38.6,9.0,38.9", "--max_cells", "3"], "-.5,38.6,9.0,38.9", None),
        (["--area", "alps.geojson"], "alps.geojson", None),
        (["--region", "europe-west1"], None, "europe-west1"),
        (["--region=us-central1", "--area=1,2,3,4"], "1,2,3,4", "us-central1"),
    ],
)
def test_an_area_is_ours_and_a_region_google_clouds(
    flags: list[str], area: str | None, region: str | None
) -> None:
    given, options = parse_build_flags([*NEEDED, *flags])
    assert given.area == area
    assert options.view_as(GoogleCloudOptions).region == region


@pytest.mark.parametrize(
    "flags",
    [
        ["--region", "9.4,47.0,9.7,47.3"],
        ["--region=-9.4,47.0,9.7,47.3"],
        ["--region", "-9.4,-47.0,9.7,47.3"],
        ["--region", "alps.geojson"],
        ["--region", "../alps"],
    ],
)
def test_an_area_that_is_given_as_region_is_told_where_it_belongs(flags: list[str]) -> None:
    with pytest.raises(InvalidInputError, match="an area is --area"):
        parse_build_flags([*NEEDED, *flags])


def test_an_area_without_a_value_is_missing_one() -> None:
    for flags in ([*NEEDED, "--area"], ["--area", *NEEDED]):
        with pytest.raises(InvalidInputError, match="--area: expected one argument"):
            parse_build_flags(flags)


def test_no_flag_is_both_ours_and_beams_and_workers_get_beams_alone() -> None:
    given, options = parse_build_flags(
        [*NEEDED, "--stac_url", "https://user:password@host/v1", "--job_name=x"]
    )
    beams = options.get_all_options(retain_unknown_options=True)
    assert beams["job_name"] == "x"
    # The one that is meant to be both: ours ends before Beam is asked, and sets Beam's.
    assert set(vars(given)) & set(beams) == {"dry_run"}
    assert "password" not in str(options.to_runner_api())
    assert set(vars(selection_parser().parse_args([]))) & set(beams) == {"dry_run"}


def test_no_flag_is_abbreviated() -> None:
    with pytest.raises(InvalidInputError, match="Unknown flags: --max_cell"):
        parse_build_flags([*NEEDED, "--max_cell", "3"])
    with pytest.raises(InvalidInputError, match="Unknown flags: --runne"):
        parse_build_flags([*NEEDED, "--runne=DirectRunner"])


def test_what_is_refused_is_quoted_without_secrets() -> None:
    secret = "https://user:password@host/v1?key=4711"
    for flags in (
        ["--seed", secret],
        ["--stac_urll", secret],
        [f"--max_cells={secret}"],
        ["--region", secret],
    ):
        with pytest.raises(InvalidInputError) as caught:
            parse_build_flags([*NEEDED, *flags])
        assert "password" not in str(caught.value)
        assert "4711" not in str(caught.value)


def test_the_help_shows_the_command_and_every_flag(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="0"):
        parse_build_flags(["--runner=DataflowRunner", "--help"], "opensentinelmap build", "Builds.")
    said = capsys.readouterr().out
    assert said.startswith("usage: opensentinelmap build [-h]")
    assert "Beam's flags hold too" in said
    assert all(f"--{name} " in said for name in vars(build_parser().parse_args([])))


@pytest.mark.parametrize(
    ("flags", "left"),
    [
        (["--years", "2021", "2022"], "2022"),
        (["-seed", "5"], "-seed 5"),
        (["--osm", "a.osm.pbf", "b.osm.pbf", "c.osm.pbf"], "b.osm.pbf c.osm.pbf"),
        (["2022"], "2022"),
        (["--", "x"], "-- x"),
        (["--save_main_session", "x"], "x"),
        (["--experiments", "a", "b"], "b"),
        (["--runner", "DirectRunner", "DataflowRunner"], "DataflowRunner"),
        (["--runner=FlinkRunner", "--of_the_server", "--years", "2021", "2022"], "2022"),
        (["--runner=FlinkRunner", "--of_the_server=3", "4"], "4"),
        (["--runner=FlinkRunner", "-of_the_server", "4"], "-of_the_server 4"),
    ],
)
def test_a_word_that_belongs_to_no_flag_is_refused(flags: list[str], left: str) -> None:
    with pytest.raises(
        InvalidInputError, match=f"No flag takes: {left}\\. .* with commas .* quote a pattern"
    ):
        parse_build_flags([*NEEDED, *flags])


@pytest.mark.parametrize(
    ("flags", "options"),
    [
        (["--runner", "DirectRunner"], {"runner": "DirectRunner"}),
        (["--experiments", "a", "--experiments=b"], {"experiments": ["a", "b"]}),
        (["--save_main_session", "--job_name", "x"], {"save_main_session": True, "job_name": "x"}),
        (
            ["--runner=FlinkRunner", "--flink_master", "host:1", "--of_the_server", "4", "--a=b", "--c"],
            {"flink_master": "host:1", "of_the_server": "4", "a": "b", "c": True},
        ),
    ],
)
def test_beams_flags_take_their_words(flags: list[str], options: dict[str, object]) -> None:
    _, beams = parse_build_flags([*NEEDED, *flags])
    assert beams.get_all_options(retain_unknown_options=True).items() >= options.items()


def test_a_wrong_value_of_a_beam_flag_is_told_as_ours_are() -> None:
    with pytest.raises(InvalidInputError, match="--direct_num_workers: invalid int value: 'x'"):
        parse_build_flags([*NEEDED, "--direct_num_workers", "x"])


def test_unknown_flags_and_lossy_modes_are_refused() -> None:
    with pytest.raises(InvalidInputError, match="--cels"):
        parse_build_flags([*NEEDED, "--cels", "x.csv"])
    with pytest.raises(InvalidInputError, match="loses records"):
        parse_build_flags([*NEEDED, "--direct_running_mode=multi_threading"])


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--osm", "a.osm.pbf"], "--output is missing"),
        (["--output", "out"], "--osm is missing"),
        ([*NEEDED, "--cells_per_shard", "0"], "--cells_per_shard must lie in 1 to 256"),
        ([*NEEDED, "--reads_in_flight", "1000"], "--reads_in_flight"),
        ([*NEEDED, "--max_bad_fraction", "25"], "--max_bad_fraction"),
        ([*NEEDED, "--max_scene_cloud", "-1"], "--max_scene_cloud"),
        ([*NEEDED, "--max_min_reflectance", "-0.1"], "--max_min_reflectance must lie in 0 to 10"),
        (
            [*NEEDED, "--min_reflectance_percentile", "100.5"],
            "--min_reflectance_percentile must lie in 0 to 100",
        ),
        (
            [*NEEDED, "--min_reflectance_percentile", "nan"],
            "--min_reflectance_percentile must lie in 0 to 100",
        ),
        ([*NEEDED, f"--seed={2**63}"], "--seed must lie in"),
        ([*NEEDED, "--ontology", "no/such.json"], "--ontology cannot be read"),
        ([*NEEDED, "--ontology", "Strict"], "Received: Strict. Or give one of the words published, strict$"),
    ],
)
def test_bad_values_are_named(flags: list[str], message: str) -> None:
    with pytest.raises(InvalidInputError, match=message):
        build_settings(*parse_build_flags(flags))


def test_every_seed_that_is_taken_can_be_drawn_with() -> None:
    for seed in (-(2**63), 2**63 - 1):
        settings = build_settings(*parse_build_flags([*NEEDED, f"--seed={seed}"]))
        assert 0 <= keyed_hash(settings.seed, "split", "32TMS") < 2**64


def test_an_ontology_is_named_or_given(tmp_path: Path) -> None:
    def ontology(*flags: str) -> Ontology:
        return build_settings(*parse_build_flags([*NEEDED, *flags])).ontology

    published = Ontology.load(DEFAULT_ONTOLOGY.read_text())
    strict = Ontology.load(shipped_ontology("strict"))
    assert ontology() == ontology("--ontology", "published") == published
    assert ontology("--ontology", "strict") == strict != published
    own = tmp_path / "strict"
    own.write_text(DEFAULT_ONTOLOGY.read_text())
    assert ontology("--ontology", str(own)) == published


def test_settings_are_frozen_flags() -> None:
    flags = [*NEEDED, "--max_scene_cloud", "60", "--no_none_labels", "--output", "gs://bucket/set/"]
    settings = build_settings(*parse_build_flags([*flags, "--osm", "a.osm.pbf,b.osm.pbf"]))
    assert settings.output == "gs://bucket/set"
    assert settings.years == (2017, 2018, 2019, 2020)
    assert settings.extracts == ("a.osm.pbf", "b.osm.pbf")
    assert settings.max_scene_cloud == 60
    assert not settings.none_labels
    assert settings.filters == FilterSettings()
    overpass = build_settings(*parse_build_flags(["--output", "out", "--osm", "overpass"]))
    assert overpass.extracts == ()
    assert overpass.overpass_url.startswith("https://")
    url = ["--overpass_url", "http://127.0.0.1:8/api/"]
    given = build_settings(*parse_build_flags(["--output", "out", "--osm", "overpass", *url]))
    assert given.overpass_url == "http://127.0.0.1:8/api"  # the same dataset as without the slash
