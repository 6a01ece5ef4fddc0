import os
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from beam_pipeline.runtime.whole_files import write_whole, writing_whole


def make_socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as it:
        it.bind(path.name)  # an address has room for about a hundred bytes


NO_FILES: dict[str, Callable[[Path], object]] = {
    "a folder": Path.mkdir,
    "a pipe": os.mkfifo,
    "a socket": make_socket,
    "a link to a folder": lambda path: path.symlink_to(path.parent),
    "a link to a device": lambda path: path.symlink_to("/dev/null"),
}


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path / "it"


def test_all_chunks_are_there_in_turn_and_nothing_else(path: Path) -> None:
    write_whole(str(path), [b"one ", b"", b"two"])
    assert path.read_bytes() == b"one two"
    write_whole(str(path), [])
    assert path.read_bytes() == b""
    assert list(path.parent.iterdir()) == [path]


def test_missing_folders_are_made_and_a_bare_name_is_of_the_current_one(path: Path) -> None:
    write_whole(str(path / "a" / "b"), [b"x"])
    assert (path / "a" / "b").read_bytes() == b"x"
    write_whole("bare", [b"x"])
    assert (path.parent / "bare").read_bytes() == b"x"


def test_any_name_that_a_file_may_have_is_written(path: Path) -> None:
    for name in ("x" * 255, "ä" * 127, "é]*?,~ \n", "-rf"):
        write_whole(str(path.parent / name), [b"x"])
        assert os.listdir(path.parent) == [name]
        (path.parent / name).unlink()


@pytest.mark.parametrize("link", [Path.symlink_to, Path.hardlink_to])
def test_nothing_is_written_through_a_link(path: Path, link: Callable[[Path, Path], None]) -> None:
    secret = path.with_name("secret")
    secret.write_bytes(b"old")
    link(path, secret)
    write_whole(str(path), [b"new"])
    assert secret.read_bytes() == b"old"
    assert path.read_bytes() == b"new"
    assert not path.is_symlink()


def test_a_link_that_leads_nowhere_makes_no_file_where_it_leads(path: Path) -> None:
    path.symlink_to("elsewhere")
    write_whole(str(path), [b"new"])
    assert list(path.parent.iterdir()) == [path]
    assert not path.is_symlink()


@pytest.mark.parametrize("kind", NO_FILES)
def test_what_is_no_file_is_not_replaced(path: Path, kind: str) -> None:
    NO_FILES[kind](path)
    before = path.lstat()
    with pytest.raises(OSError, match="Not a regular file"):
        write_whole(str(path), [b"new"])
    assert path.lstat() == before
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit])
def test_a_write_that_fails_leaves_the_old_file_and_nothing_else(
    path: Path, error: type[BaseException]
) -> None:
    path.write_bytes(b"old")

    def chunks() -> Iterator[bytes]:
        yield b"new"
        raise error

    with pytest.raises(error):
        write_whole(str(path), chunks())
    assert path.read_bytes() == b"old"
    assert list(path.parent.iterdir()) == [path]


def test_a_full_disk_leaves_the_old_file_and_nothing_else(path: Path) -> None:
    """A limit on the size of files stands for the disk."""
    import resource
    import signal

    path.write_bytes(b"old")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limits[1]))
        with pytest.raises(OSError, match="File too large"):
            write_whole(str(path), [b"x" * 2000])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, handler)
    assert path.read_bytes() == b"old"
    assert list(path.parent.iterdir()) == [path]


def test_libraries_may_write_to_the_name_that_it_has_meanwhile(path: Path) -> None:
    with writing_whole(str(path)) as file:
        assert not path.exists()
        Path(file.name).write_bytes(b"by name")
    assert path.read_bytes() == b"by name"


def test_others_may_read_it_as_the_umask_says(path: Path) -> None:
    mask = os.umask(0o027)
    try:
        write_whole(str(path), [b"x"])
    finally:
        os.umask(mask)
    assert path.stat().st_mode & 0o777 == 0o640
