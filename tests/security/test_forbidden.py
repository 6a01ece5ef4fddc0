"""Calls that are never made on others' input, beside what Ruff's S rules forbid (eval, exec, pickle, shells, ...)."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
NAMES = {
    "load_model": "builds whatever a file describes",
    "enable_unsafe_deserialization": "runs code of a file",
    "allow_pickle": "runs code of a file",
    "unsafe_load": "runs code of a file",
    "pickle": "runs code of a file",
    "joblib": "runs code of a file",
    "dill": "runs code of a file",
    "shell": "runs text as a command",
    "ElementTree": "expands entities without end",
    "fromstring": "expands entities without end",
    "minidom": "expands entities without end",
    "_create_unverified_context": "trusts any host",
    "CERT_NONE": "trusts any host",
    "PIL": "Beam holds Pillow where its parsers have known flaws (docs/security.md)",
}
FALSE_ONLY = {"verify", "safe_mode", "check_hostname"}


def forbidden(source: str) -> Iterator[str]:
    """Yields what a module does that it must not."""
    for node in ast.walk(ast.parse(source)):
        names: list[str] = []
        if isinstance(node, ast.Attribute):
            names.append(node.attr)
        elif isinstance(node, ast.Name):
            names.append(node.id)
        elif isinstance(node, ast.keyword):
            if not (node.arg == "allow_pickle" and ast.unparse(node.value) == "False"):
                names.append(node.arg or "")
            if node.arg in FALSE_ONLY and isinstance(node.value, ast.Constant) and node.value.value is False:
                yield f"{node.arg}=False"
        elif isinstance(node, ast.Import | ast.ImportFrom):
            names += [part for alias in node.names for part in alias.name.split(".")]
            names += (getattr(node, "module", None) or "").split(".")
        yield from (name for name in names if name in NAMES)


@pytest.mark.parametrize(
    "source",
    [
        "import pickle",
        "from PIL import Image",
        "from xml.etree import ElementTree",
        "import xml.etree.ElementTree as E",
        "np.load(f, allow_pickle=x)",
        "np.load(f, allow_pickle=True)",
        "keras.models.load_model(f)",
        "subprocess.run(a, shell=True)",
        "requests.get(u, verify=False)",
        "keras.saving.deserialize_keras_object(c, safe_mode=False)",
        "context.verify_mode = ssl.CERT_NONE",
    ],
)
def test_it_is_found(source: str) -> None:
    assert list(forbidden(source))


WRITERS_OF_XML = (
    *("exchange/class_names", "exchange/geotiff_whole", "exchange/mosaic", "exchange/qgis_project"),
    *("exchange/qgis_style", "report/markup", "report/page"),
)
HARMLESS = {
    # Pipes to children of this program, as multiprocessing does it: nothing that a file holds is unpickled.
    "beam_pipeline/runtime/child_process.py": {"pickle"},
    # They build XML, and parse none.
    **{f"beam_pipeline/{name}.py": {"ElementTree"} for name in WRITERS_OF_XML},
    # Parses what matplotlib has just written.
    "beam_pipeline/report/theme.py": {"ElementTree", "fromstring"},
}


def test_neither_package_does_it() -> None:
    files = [*ROOT.glob("beam_pipeline/**/*.py"), *ROOT.glob("model_tf/**/*.py"), ROOT / "setup.py"]
    assert len(files) > 100
    found = {str(file.relative_to(ROOT)): set(forbidden(file.read_text())) for file in files}
    assert {file: names for file, names in found.items() if names} == HARMLESS


def test_nothing_turns_off_the_look_at_certificates() -> None:
    files = [*ROOT.glob("beam_pipeline/**/*.py"), *ROOT.glob("templates/**/*"), *ROOT.glob(".ci/*")]
    lines = [
        line
        for file in files
        if file.suffix != ".npz" and file.is_file()
        for line in file.read_text().splitlines()
    ]
    assert {line.strip() for line in lines if "UNSAFESSL" in line} == {'"GDAL_HTTP_UNSAFESSL": "NO",'}
