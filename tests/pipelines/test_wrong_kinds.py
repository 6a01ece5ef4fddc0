"""A file where a folder belongs, a folder where a file does, and a file of another kind: one sentence, exit code 2."""

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from beam_pipeline.build_dataset import main as build_dataset
from beam_pipeline.preview import main as preview
from beam_pipeline.sample_world import SampleWorld
from beam_pipeline.sample_world.__main__ import main as sample_world
from beam_pipeline.select_cells import main as select_cells
from beam_pipeline.verify import main as verify
from tests.pipelines.conftest import Built, flags

Main = Callable[[Sequence[str]], int]


@pytest.fixture
def names(built: Built, tmp_path: Path) -> dict[str, str]:
    """Returns paths that may be given by mistake, by their kind."""
    (tmp_path / "text").write_text("no more than a text")
    (tmp_path / "folder.tif").mkdir()
    return {
        "text": str(tmp_path / "text"),
        "below": str(tmp_path / "text" / "below.png"),
        "folder": str(tmp_path / "folder.tif"),
        "nothing": str(tmp_path / "nothing"),
        "set": str(built.folder),
        "description": str(built.folder / "dataset.json"),
    }


def refuse(main: Main, argv: Sequence[str], given: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(argv) == 2
    (said,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
    assert given in said
    assert not Path(given).is_file() or Path(given).stat().st_size


@pytest.mark.parametrize(
    ("flag", "kind"),
    [
        *(
            (flag, kind)
            for flag in ("cells", "ontology", "osm")
            for kind in ("text", "folder", "nothing", "below")
        ),
        *(("stac_url", kind) for kind in ("text", "folder", "nothing", "below")),
        *(("output", kind) for kind in ("text", "below")),
        *(("overpass_cache", kind) for kind in ("text", "below")),
    ],
)
def test_build(
    flag: str,
    kind: str,
    names: dict[str, str],
    world: SampleWorld,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    overpass = ["--osm=overpass"] if flag == "overpass_cache" else []
    argv = [*flags(world, tmp_path / "set"), *overpass, f"--{flag}={names[kind]}"]
    refuse(build_dataset, argv, names[kind], capsys)
    assert not (tmp_path / "set").exists()


@pytest.mark.parametrize("kind", ["text", "folder", "nothing"])
def test_an_area(
    kind: str, names: dict[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    argv = [f"--area={names[kind]}", "--osm=a.osm.pbf", f"--output={tmp_path}/set"]
    refuse(build_dataset, argv, names[kind], capsys)
    argv = [f"--area={names[kind]}", "--night_lights=a", "--land_cover=b", f"--output={tmp_path}/cells"]
    refuse(select_cells, argv, names[kind], capsys)


@pytest.mark.parametrize("kind", ["text", "below"])
def test_the_sample(
    kind: str, names: dict[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    argv = ["--sample", f"--sample_dir={names[kind]}", f"--output={tmp_path}/set"]
    assert build_dataset(argv) == 2
    assert names[kind].removesuffix("/below.png") in capsys.readouterr().err
    assert sample_world([f"--output={names[kind]}"]) == 2
    assert names[kind].removesuffix("/below.png") in capsys.readouterr().err


@pytest.mark.parametrize(
    ("flag", "kind"),
    [
        *(
            (flag, kind)
            for flag in ("night_lights", "land_cover")
            for kind in ("text", "folder", "nothing", "below")
        ),
        *((flag, kind) for flag in ("output", "expanded_dir") for kind in ("text", "below")),
    ],
)
def test_select(
    flag: str,
    kind: str,
    names: dict[str, str],
    whole_world: SampleWorld,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    argv = [
        f"--night_lights={whole_world.night_lights[0]}",
        f"--land_cover={whole_world.land_cover}",
        f"--output={tmp_path}/cells",
        f"--{flag}={names[kind]}",
    ]
    refuse(select_cells, argv, names[kind], capsys)


@pytest.mark.parametrize("main", [verify, preview])
@pytest.mark.parametrize("kind", ["text", "below", "folder", "nothing", "description"])
def test_verify_and_preview(
    main: Main, kind: str, names: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    refuse(main, [names[kind]], names[kind], capsys)


@pytest.mark.parametrize("kind", ["folder", "below"])
def test_a_picture(kind: str, names: dict[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    refuse(preview, [names["set"], "--rows=1", f"--output={names[kind]}"], names[kind], capsys)
