"""The environment variables that could change a result or stop a run are set here, before libraries read them.

| what | becomes |
|---|---|
| `OF_RASTERS`, `OF_PROGRAMS` | our value, whatever was there |
| `REMOVED`; what begins as in `REMOVED_PREFIXES` but not as in `KEPT_PREFIXES` | nothing: the default holds |
| `DATA_FOLDERS` | nothing where rasterio brings its own data, as its wheels do |
| `THREADS` | nothing where it is no number |
| `no_grpc_proxy` | this machine's own addresses are reached without a proxy |

All else is the user's: proxies, certificates, credentials, devices, threads, memory, logging, where temporary files and
caches lie. `program.run_program` settles it for every command, and the workers that a command starts inherit it. In
workers elsewhere, and in programs of others, `gdal_drivers` settles what rasters need, and no more.
"""

import importlib.util
import os
import warnings
from collections.abc import Mapping, MutableMapping
from pathlib import Path

OF_RASTERS: Mapping[str, str] = {
    # Instead of ~/.gdal/gdalrc and that of the system, which may set any option of GDAL.
    # Source: https://gdal.org/en/stable/user/configoptions.html
    "GDAL_CONFIG_FILE": "",
    # No grid shifts are downloaded: a transformation is the same with and without a network.
    "PROJ_NETWORK": "OFF",
}

OF_PROGRAMS: Mapping[str, str] = {
    # A file in place of a folder: no keras.json (floatx, epsilon, image_data_format) is read or written there.
    "KERAS_HOME": os.devnull,
    # Figures become files. A notebook's backend can be imported in the notebook only.
    "MPLBACKEND": "agg",
}

REMOVED = frozenset(
    {
        # Training that ends early. Source: keras/src/backend/config.py
        "KERAS_MAX_EPOCHS",
        "KERAS_MAX_STEPS_PER_EPOCH",
        "KERAS_NNX_ENABLED",
        # Other arithmetic than that of the same command without them.
        "TF_ENABLE_ONEDNN_OPTS",
        "TF_XLA_FLAGS",
        "TF_DETERMINISTIC_OPS",
        "TF_CUDNN_DETERMINISTIC",
        "TF_ENABLE_AUTO_MIXED_PRECISION",
        "NVIDIA_TF32_OVERRIDE",
        "JAX_ENABLE_X64",
        "JAX_DEFAULT_DTYPE_BITS",
        "JAX_DEFAULT_MATMUL_PRECISION",
        "JAX_DEFAULT_PRNG_IMPL",
        "JAX_NUMPY_DTYPE_PROMOTION",
        "JAX_NUMPY_RANK_PROMOTION",
        "JAX_DISABLE_JIT",
        "JAX_DEBUG_NANS",
        "JAX_DEBUG_INFS",
        # Slow, or not there at all: an old remedy for packages that do not fit together.
        "PROTOCOL_BUFFERS_PYTHON_IMPLEMENTATION",
        # How HDF5 opens what Keras reads.
        "HDF5_DRIVER",
        "HDF5_DRIVER_CONFIG",
        "HDF5_VOL_CONNECTOR",
        # What a library warns of is no error of ours.
        "PYTHONWARNINGS",
    }
)

THREADS = frozenset({"TF_NUM_INTEROP_THREADS", "TF_NUM_INTRAOP_THREADS"})
"""Numbers; TensorFlow ends the process at one that is less than 0."""

REMOVED_PREFIXES = (
    "GDAL_",
    "GTIFF_",
    "TIFF_",
    "CPL_",
    "VSI_",
    "VRT_",
    "OGR_",
    "OSR_",
    "PROJ_AUX_DB",
    "PROJ_ONLY_",
)
"""GDAL takes each of its options from the environment; some of them move a raster by half a pixel."""

KEPT_PREFIXES = (
    # Proxies, certificates, credentials and time-outs. Those that must hold are set where files are opened.
    *("GDAL_HTTP_", "GDAL_HTTPS_", "GDAL_PROXY_", "GDAL_CURL_", "CPL_GS_", "CPL_GCE_", "CPL_MACHINE_IS_GCE"),
    *("GDAL_NUM_THREADS", "GDAL_CACHEMAX", "GDAL_CONFIG_FILE"),
    *("CPL_DEBUG", "CPL_LOG", "CPL_TIMESTAMP", "CPL_CURL_VERBOSE"),
    # A build of rasterio without data of its own finds them by these; others: DATA_FOLDERS.
    "GDAL_DATA",
)

DATA_FOLDERS = frozenset({"GDAL_DATA", "PROJ_DATA", "PROJ_LIB"})
"""Of another GDAL or PROJ, which conda, QGIS and PostGIS leave behind: rasterio's own would not understand it."""

_LOCAL = ("localhost", "127.0.0.1", "::1")
_NO_PROXY = ("no_grpc_proxy", "no_proxy", "NO_PROXY")
"""gRPC takes the first that is set. Source: gRPC's doc/environment_variables.md"""


def settle_environment(environment: MutableMapping[str, str] = os.environ) -> None:
    """Sets and removes what a program of ours must not be changed or stopped by; once more does no harm.

    Args:
        environment: The process's own, or one to look at.
    """
    if "error" in environment.get("PYTHONWARNINGS", ""):
        warnings.simplefilter("default")  # shows them still
    for name in (REMOVED | THREADS) & environment.keys():
        if name in REMOVED or not environment[name].isdecimal():
            del environment[name]
    environment.update(OF_PROGRAMS)
    # Beam's workers on this machine and their launcher talk by gRPC, which would ask a proxy for them.
    given = next((environment[name] for name in _NO_PROXY if environment.get(name)), "")
    direct = [host for host in given.split(",") if host]
    environment["no_grpc_proxy"] = ",".join(dict.fromkeys([*direct, *_LOCAL]))
    settle_rasters(environment)


def settle_rasters(environment: MutableMapping[str, str] = os.environ) -> None:
    """Sets and removes what rasterio and PROJ must not be changed or stopped by; once more does no harm.

    Args:
        environment: As `settle_environment`.
    """
    others_data = DATA_FOLDERS if _brings_data() else ()
    for name in [*environment]:
        removed = name.startswith(REMOVED_PREFIXES) and not name.startswith(KEPT_PREFIXES)
        if removed or name in others_data:
            del environment[name]
    environment.update(OF_RASTERS)


def _brings_data() -> bool:
    """Tells whether rasterio has data of its own, without importing it."""
    found = importlib.util.find_spec("rasterio")
    folders = (found.submodule_search_locations if found else None) or ()
    return any(Path(folder, "proj_data").is_dir() for folder in folders)
