"""Packaging of opensentinelmap.

The bounds here are loose on purpose; `requirements.txt` is the exact lock. Beam workers install this
package through `--setup_file=./setup.py`, which is why TensorFlow and Keras are an extra: no worker
imports them.
"""

from setuptools import find_packages, setup

setup(
    name="opensentinelmap",
    version="0.1.0",
    description="Sentinel-2 + OpenStreetMap training sets with Apache Beam, and an HRNet trained on them",
    license="Apache-2.0",
    python_requires=">=3.11",
    packages=find_packages(include=["beam_pipeline*", "model_tf*"]),
    package_data={
        "beam_pipeline.cells": ["*.npz"],
        "beam_pipeline.maps": ["*.npz"],
        "beam_pipeline.labels": ["osm_categories.json"],
    },
    install_requires=[
        "apache-beam[gcp]>=2.70",
        "google-crc32c>=1.5",  # the CRC of TFRecord framing; Beam ships none
        "matplotlib>=3.9",  # maps, figures and contact sheets
        "numpy>=1.26",
        "osmium>=4.0",  # reads and writes .osm.pbf; the reference implementation's bindings
        "osmnx>=2.0",
        "pyproj>=3.6",
        "pystac>=1.10",
        "pystac-client>=0.8",
        "rasterio>=1.4",
        "requests>=2.31",
        "shapely>=2.0",
        "tqdm>=4.66",  # the progress bar of local runs
        "urllib3>=2.0",  # below requests; how long an answer may take is set there
    ],
    extras_require={
        "train": [
            "tensorflow>=2.18",
            "keras>=3.8",
            "tensorboard>=2.18",  # tf.summary writes through it
        ]
    },
)
