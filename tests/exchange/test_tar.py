"""Tar archives as a stream, beside Python's tarfile and the tar command."""

import io
import shutil
import subprocess
import tarfile

import pytest

from beam_pipeline.exchange.tar import tar_chunks

MEMBERS = [
    ("1_2020.json", b"{}"),
    ("1_2020.label.png", bytes(512)),
    ("empty", b""),
    ("odd", bytes(range(256)) * 5),
]


def archive(members=MEMBERS) -> bytes:
    return b"".join(tar_chunks(members))


def test_it_is_what_tarfile_writes():
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for name, content in MEMBERS:
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    assert archive() == buffer.getvalue()


def test_tarfile_reads_it():
    with tarfile.open(fileobj=io.BytesIO(archive())) as tar:
        found = [(it.name, tar.extractfile(it).read()) for it in tar]
        owners = {(it.uid, it.gid, it.uname, it.gname, it.mtime, it.mode) for it in tar}
    assert found == MEMBERS
    assert owners == {(0, 0, "", "", 0, 0o644)}


@pytest.mark.skipif(shutil.which("tar") is None, reason="needs tar")
def test_tar_reads_it(tmp_path):
    (tmp_path / "it.tar").write_bytes(archive())
    listed = subprocess.run(
        ["tar", "-tf", "it.tar"], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert listed.stdout.split() == [name for name, _ in MEMBERS]
    assert listed.stderr == ""


def test_an_archive_of_nothing_is_one():
    with tarfile.open(fileobj=io.BytesIO(archive([]))) as tar:
        assert tar.getnames() == []


def test_one_member_is_made_at_a_time():
    made = []

    def members():
        for name, content in MEMBERS:
            made.append(name)
            yield name, content

    chunks = tar_chunks(members())
    next(chunks)
    assert made == ["1_2020.json"]


@pytest.mark.parametrize("name", ["x" * 300, "schöne.json"])
def test_a_name_that_does_not_fit_is_refused(name):
    with pytest.raises(ValueError, match=r"name|ascii"):
        archive([(name, b"")])
