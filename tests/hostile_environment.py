"""An environment in which little is as programs expect it."""

import json
import os
from pathlib import Path

_GONE = ("HOME", "USER", "LOGNAME", "LNAME", "USERNAME", "XDG_CACHE_HOME", "XDG_CONFIG_HOME")

_UNKNOWN_USER = """
import pwd

def unknown(uid):
    raise KeyError(f"getpwuid(): uid not found: {uid}")

pwd.getpwuid = unknown
"""

_KERAS = {"floatx": "float16", "epsilon": 0.1, "backend": "torch", "image_data_format": "channels_first"}

_GDAL = """
[configoptions]
GTIFF_POINT_GEO_IGNORE=YES
OSR_DEFAULT_AXIS_MAPPING_STRATEGY=AUTHORITY_COMPLIANT
GDAL_NETCDF_BOTTOMUP=NO
"""

_MATPLOTLIB = "savefig.bbox: tight\ntext.usetex: True\nfigure.dpi: 7\n"


def hostile_environment(folder: Path) -> dict[str, str]:
    """Returns an environment of a user without home and name, with settings left behind by other programs.

    Args:
        folder: Gets the files that it names; temporary ones too.
    """
    files = {
        "keras/keras.json": json.dumps(_KERAS),
        "gdalrc": _GDAL,
        "matplotlibrc": _MATPLOTLIB,
        "site/sitecustomize.py": _UNKNOWN_USER,  # which Python imports as it starts
    }
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content, "utf-8")
    temporary = folder / "temporary"
    temporary.mkdir(exist_ok=True)
    kept = {name: value for name, value in os.environ.items() if name not in _GONE}
    return {
        **kept,
        "TMPDIR": str(temporary),
        "PYTHONPATH": str(folder / "site"),
        "PYTHONHASHSEED": "12345",
        "PYTHONIOENCODING": "ascii",
        "PYTHONUTF8": "0",
        "PYTHONCOERCECLOCALE": "0",
        "LC_ALL": "C",
        "TZ": "Pacific/Kiritimati",
        "MPLBACKEND": "module://matplotlib_inline.backend_inline",
        "MATPLOTLIBRC": str(folder / "matplotlibrc"),
        "KERAS_HOME": str(folder / "keras"),
        "KERAS_MAX_STEPS_PER_EPOCH": "1",
        "TF_USE_LEGACY_KERAS": "1",
        "PROTOCOL_BUFFERS_PYTHON_IMPLEMENTATION": "python",
        "GDAL_DATA": "/none",
        "GDAL_DRIVER_PATH": "/none",
        "GDAL_CONFIG_FILE": str(folder / "gdalrc"),
        "GDAL_SKIP": "GTiff",
        "GTIFF_POINT_GEO_IGNORE": "YES",
        "PROJ_LIB": "/none",
        "PROJ_DATA": "/none",
        "PROJ_NETWORK": "ON",
        "AWS_ACCESS_KEY_ID": "x",
        "AWS_SECRET_ACCESS_KEY": "x",
        "OMP_NUM_THREADS": "garbage",
    }
