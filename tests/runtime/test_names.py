"""Names of files as people type them."""

import argparse
import os
import pwd
from pathlib import Path

import pytest

from beam_pipeline.jobs import given_files
from beam_pipeline.jobs.given_files import expand_globs, read_given_text
from beam_pipeline.jobs.storage import BeamFiles
from beam_pipeline.runtime.faults import InvalidInputError
from beam_pipeline.runtime.names import folder_name, path_name, path_names


def test_home_is_written_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/of/mine")
    assert path_name("~/a~") == "/home/of/mine/a~"
    assert folder_name("~") == "/home/of/mine"
    assert path_names("~/a,b~,~/c*") == ("/home/of/mine/a", "b~", "/home/of/mine/c*")
    assert path_name("./~") == "./~"
    assert path_name("~root/a") == os.path.join(pwd.getpwnam("root").pw_dir, "a")
    assert path_name("~nobody-is-called-so/a") == "~nobody-is-called-so/a"


@pytest.mark.parametrize("text", ["/", "//", "gs://", "gs:///"])
def test_the_root_is_no_folder(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError, match="Is a variable before the slash empty"):
        folder_name(text)


def test_a_folder_ends_in_no_slash() -> None:
    given = ("a/", "gs://b/c//", "/a", "x:", "x:/")
    assert [folder_name(text) for text in given] == ["a", "gs://b/c", "/a", "x:", "x:"]


def test_an_empty_name_is_none() -> None:
    for kind in (path_name, folder_name):
        with pytest.raises(argparse.ArgumentTypeError, match=r"is empty\. Is a variable empty"):
            kind("")
    assert path_names("") == path_names(",") == ()


def test_bytes_that_are_no_utf_8_are_refused() -> None:
    with pytest.raises(argparse.ArgumentTypeError, match="no UTF-8"):
        path_name("a\udcff")


def test_a_file_beats_what_its_name_could_mean(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("a,b", "a", "x*", "xy", "v[1]", "v1", ".x"):
        Path(name).touch()
    assert path_names("a,b,a,c,") == ("a,b", "a", "c")
    assert expand_globs(["x*"], "--osm") == ["x*"]
    assert expand_globs(["x?"], "--osm") == ["x*", "xy"]
    assert expand_globs(["v[1]"], "--osm") == ["v[1]"]
    assert expand_globs(["v?"], "--osm") == ["v1"]
    assert expand_globs(["?*"], "--osm") == ["a", "a,b", "v1", "v[1]", "x*", "xy"]


def test_a_folder_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError, match=r"--osm takes files\. Received a folder"):
        expand_globs([str(tmp_path)], "--osm")


def test_a_store_is_told_from_a_folder_of_files(tmp_path: Path) -> None:
    """`test_a_build_from_a_store_is_that_from_its_extracts` does what is advised."""
    (tmp_path / "store.json").touch()
    with pytest.raises(
        InvalidInputError, match=r"a store of features already: give it to build_dataset, by --osm"
    ):
        expand_globs([str(tmp_path)], "--osm")


def test_a_listing_takes_the_folder_by_its_name(tmp_path: Path) -> None:
    files = BeamFiles()
    for folder in ("v [1]", "v 1"):
        files.write_text(f"{tmp_path}/{folder}/sub/x.json", "")
    folder = f"{tmp_path}/v [1]"
    assert files.glob(folder, "*/*.json") == [f"{folder}/sub/x.json"]
    files.delete(f"{folder}/sub")
    assert files.glob(folder, "*/*.json") == []
    assert files.exists(f"{tmp_path}/v 1/sub/x.json")


def test_a_mark_before_a_text_is_passed_over(tmp_path: Path) -> None:
    path = tmp_path / "area.geojson"
    path.write_bytes(b"\xef\xbb\xbf{}")
    assert read_given_text(str(path), "--area") == "{}"
    path.write_bytes("{}".encode("utf-16"))
    with pytest.raises(InvalidInputError, match=r"--area cannot be read: .* Give a UTF-8 text"):
        read_given_text(str(path), "--area")


def test_a_text_without_end_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(given_files, "MOST_BYTES", 1 << 20)
    with pytest.raises(InvalidInputError, match=r"--cells cannot be read: it has more than 1 MiB"):
        read_given_text("/dev/zero", "--cells")
