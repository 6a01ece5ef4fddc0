"""Every local file is written by `whole_files`: aside, whole, never through a link. What is not has its reason here."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

WRITERS = {
    *("write_text", "write_bytes", "savefig", "imsave", "save", "savez", "savez_compressed", "save_weights"),
    *("dump", "tofile", "to_csv", "to_parquet", "to_file", "touch", "create_file_writer", "create"),
    *("rename", "renames", "replace", "move", "copy", "copy2", "copyfile", "copytree", "link", "symlink"),
    *("symlink_to", "hardlink_to", "mkstemp", "NamedTemporaryFile", "truncate"),
}
"""Names of functions that write a file or give one another name."""

OPENERS = {"open", "GFile", "File", "ZipFile", "TarFile", "SimpleWriter"}
"""Names of functions that write where their mode says so."""

OUR_OWN = {
    *("", "self", "files", "self.files", "BeamFiles()"),
    *("folder", "self.folder", "self._folder", "folder.files", "store", "store.files", "_DISK"),
}
"""The objects of our own that have `write_text` and the like: a `Files`, a `DatasetFolder`, a function."""

MKDTEMP = "in a new folder of mkdtemp, which is renamed when it is whole"
TEMPORARY = "in a new folder of TemporaryDirectory"
REMOTE = "on an object store, where there are no links"
MEMORY = "in memory"

ALLOWED = {
    "beam_pipeline/runtime/whole_files.py": {
        "open(aside, 'xb')": "the one place: exclusive",
        "os.replace(aside, path)": "the one place",
    },
    "beam_pipeline/exchange/webdataset.py": {"np.save(buffer, bands_first, allow_pickle=False)": MEMORY},
    "beam_pipeline/exchange/qgis_project.py": {"zipfile.ZipFile(buffer, 'w')": MEMORY},
    "beam_pipeline/exchange/published.py": {
        "archive.open(f'{name}.npy', 'w', force_zip64=True)": MEMORY,
        "zipfile.ZipFile(buffer, 'w', zipfile.ZIP_DEFLATED, compresslevel=_LEVEL)": MEMORY,
    },
    "beam_pipeline/features/extract_cut.py": {"link.symlink_to(target)": TEMPORARY},
    "beam_pipeline/jobs/storage.py": {
        "FileSystems.create(path, compression_type=CompressionTypes.UNCOMPRESSED)": REMOTE,
        "FileSystems.rename([source], [target])": REMOTE,
        "open(local, 'wb')": TEMPORARY,
        "target.truncate(found.size_in_bytes)": TEMPORARY,
    },
    "beam_pipeline/jobs/extract/tiles.py": {"target.open('wb')": TEMPORARY},
    "beam_pipeline/jobs/select/plot.py": {"figure.savefig(buffer, format='png')": MEMORY},
    "beam_pipeline/labels/overpass.py": {
        "(cache / LOCK).touch()": "is never written, in the cache of whoever runs it",
    },
    "beam_pipeline/labels/overpass_server.py": {
        "(server.cache / LOCK).open('ab')": "is locked and never written, in the cache of whoever runs it",
    },
    "beam_pipeline/labels/water_polygons.py": {
        "link.symlink_to(source)": TEMPORARY,
        "link.with_suffix(beside).symlink_to(source.with_suffix(beside))": TEMPORARY,
    },
    "beam_pipeline/report/contact_sheet.py": {
        "sheet.savefig(file, format='png', dpi=_DPI)": "to the file of writing_whole"
    },
    "beam_pipeline/report/theme.py": {
        "drawn.savefig(buffer, format='png', dpi=_DPI, facecolor='white')": MEMORY,
        "drawn.savefig(buffer, format='svg', transparent=True, metadata=nothing, dpi=_DPI)": MEMORY,
    },
    "beam_pipeline/runtime/child_process.py": {
        "_SCORE.write_text(_MOST_SCORE)": "of the kernel, in /proc, of this process",
    },
    "beam_pipeline/runtime/machine_turns.py": {
        "os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 384)": "is locked and never written",
    },
    "beam_pipeline/runtime/disk.py": {
        "os.replace(source, target)": "moves what was written aside, over a link too"
    },
    "beam_pipeline/runtime/streams.py": {
        "os.open(os.devnull, os.O_RDWR)": "in place of a standard stream that is closed"
    },
    "beam_pipeline/sample_world/rasters.py": {"path.write_bytes(memory.getbuffer())": MKDTEMP},
    "beam_pipeline/sample_world/stac.py": {
        "path.write_text(json.dumps(content, indent=1) + '\\n', 'utf-8')": MKDTEMP,
    },
    "beam_pipeline/sample_world/surveys.py": {
        "(folder / LAND_COVER_NAME).write_bytes(_tif(classes, window))": MKDTEMP,
        "(folder / night_lights_name(year)).write_bytes(gzip.compress(_tif(masked, window), mtime=0))": MKDTEMP,
    },
    "beam_pipeline/sample_world/world.py": {
        "(aside / _MARKER).write_text(json.dumps(parameters, sort_keys=True) + '\\n', 'utf-8')": MKDTEMP,
        "aside.replace(directory)": MKDTEMP,
    },
    "model_tf/data/storage.py": {
        "open(local, 'xb')": TEMPORARY,
        "tf.io.gfile.copy(local, aside)": REMOTE,
        "tf.io.gfile.copy(path, local)": TEMPORARY,
        "tf.io.gfile.rename(aside, path, overwrite=True)": REMOTE,
    },
    "model_tf/network/saved_weights.py": {"open(path, 'xb')": TEMPORARY},
    "model_tf/scores/plots.py": {"figure.savefig(file, format='png')": MEMORY},
    "model_tf/training/checkpoints.py": {
        "bare.save(path)": TEMPORARY,
        "model.save(path)": TEMPORARY,
        "zipfile.ZipFile(path, 'a')": TEMPORARY,
    },
    "model_tf/training/run_log.py": {
        "tf.summary.create_file_writer(join(folder, EVENTS_FOLDER))": "a new name a run; the folder is no link: claim"
    },
}
"""By module, the calls that may write otherwise, each with the reason."""


def written(source: str) -> Iterator[str]:
    """Yields the calls of a module that write files, as text."""
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.Call):
            continue
        function = node.func
        name = function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")
        receiver = ast.unparse(function.value) if isinstance(function, ast.Attribute) else ""
        if name in WRITERS:
            ours = name in ("write_text", "write_bytes", "rename", "save") and receiver in OUR_OWN
            writes = not ours and not is_of_a_value(node, name)
        else:
            writes = name in OPENERS and is_for_writing(node)
        if writes:
            yield ast.unparse(node)


def is_of_a_value(node: ast.Call, name: str) -> bool:
    """Whether a call makes another value: `text.replace(a, b)`, `dataclasses.replace`, `array.copy()`."""
    if name == "replace":
        return (len(node.args) == 2 and "os." not in ast.unparse(node.func)) or bool(node.keywords)
    return name in ("copy", "dump") and not node.args


def is_for_writing(node: ast.Call) -> bool:
    modes = [*node.args, *(keyword.value for keyword in node.keywords if keyword.arg in ("mode", "flags"))]
    texts = [it.value for it in modes if isinstance(it, ast.Constant) and isinstance(it.value, str)]
    return any(set(text) <= set("rwaxbt+U") and set(text) & set("wax+") for text in texts) or any(
        "O_WRONLY" in ast.unparse(it) or "O_RDWR" in ast.unparse(it) for it in modes
    )


@pytest.mark.parametrize(
    "source",
    [
        "open(p, 'w')",
        "open(p, mode='ab')",
        "Path(p).open('r+b')",
        "os.open(p, os.O_WRONLY | os.O_CREAT)",
        "tf.io.gfile.GFile(p, 'wb')",
        "(folder / name).write_text('x')",
        "Path(p).write_bytes(b'')",
        "figure.savefig(p)",
        "np.save(p, a)",
        "json.dump(x, f)",
        "os.replace(a, b)",
        "Path(a).replace(b)",
        "shutil.copyfile(a, b)",
        "tf.io.gfile.copy(a, b)",
        "model.save(p)",
        "rasterio.open(p, 'w', **profile)",
        "zipfile.ZipFile(p, 'a')",
        "h5py.File(p, 'r+')",
        "tf.summary.create_file_writer(p)",
    ],
)
def test_it_is_found(source: str) -> None:
    assert list(written(source)) == [ast.unparse(ast.parse(source))]


@pytest.mark.parametrize(
    "source",
    [
        "open(p)",
        "open(p, 'rb')",
        "text.replace('a', 'b')",
        "dataclasses.replace(x, a=1)",
        "files.write_text(p, t)",
    ],
)
def test_nothing_else_is(source: str) -> None:
    assert list(written(source)) == []


def test_files_are_written_in_one_way() -> None:
    modules = [*ROOT.glob("beam_pipeline/**/*.py"), *ROOT.glob("model_tf/**/*.py")]
    assert len(modules) > 100
    found = {str(path.relative_to(ROOT)): sorted(set(written(path.read_text()))) for path in modules}
    assert {name: calls for name, calls in found.items() if calls} == {
        name: sorted(calls) for name, calls in ALLOWED.items()
    }
