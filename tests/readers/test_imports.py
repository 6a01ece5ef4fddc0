"""Who reads with PyTorch has neither TensorFlow nor Beam in the process."""

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
MODULES = [path.stem for path in (ROOT / "beam_pipeline" / "readers").glob("*.py") if path.stem != "__init__"]
HEAVY = ("apache_beam", "tensorflow", "keras", "rasterio", "osmium", "pandas")


@pytest.mark.parametrize("with_torch", [False, True])
def test_no_framework_is_imported(with_torch):
    if with_torch and importlib.util.find_spec("torch") is None:
        pytest.skip("torch is not installed: pip install -r tests/requirements-torch.txt")
    modules = [name for name in MODULES if with_torch or not name.startswith("torch")]
    assert len(modules) == len(MODULES) - (not with_torch)
    code = "import sys\n" + "".join(f"import beam_pipeline.readers.{name}\n" for name in modules)
    code += f"print([name for name in {HEAVY} if name in sys.modules], 'torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["[]", str(with_torch)]
