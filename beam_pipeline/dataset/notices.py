"""The notices that every dataset carries: licences, attribution, how to cite."""

from collections.abc import Sequence

from beam_pipeline.labels.attribution import ODBL_DUTIES, OSM_ATTRIBUTION

ATTRIBUTION = {"labels": OSM_ATTRIBUTION}
"""Licence of the labels."""

PAPER = (
    "Johnson, N., Treible, W., Crispell, D.: OpenSentinelMap: A Large-Scale Land Use Dataset using "
    "OpenStreetMap and Sentinel-2 Imagery. CVPR EarthVision workshop, 2022."
)


def copernicus_notice(years: Sequence[int]) -> str:
    """Returns the notice that the Copernicus licence asks for.

    Source: Legal notice on the use of Copernicus Sentinel Data and Service Information.

    Args:
        years: The years of the images, ascending.
    """
    return f"Contains modified Copernicus Sentinel data [{', '.join(map(str, years))}]"


def licences_md(years: Sequence[int]) -> str:
    """Returns the text of LICENSES.md.

    Args:
        years: The years of the images, ascending.
    """
    return f"""# Licences of this dataset

## Labels

{ATTRIBUTION["labels"]}

The label images are a Derivative Database in the sense of the ODbL: {ODBL_DUTIES}

## Imagery

{copernicus_notice(years)}.

Access to Sentinel data is free, full and open; this notice goes with whatever is passed on.
Terms: https://sentinels.copernicus.eu/documents/247904/690755/Sentinel_Data_Legal_Notice
"""


def citation_cff(years: Sequence[int], version: str) -> str:
    """Returns the text of CITATION.cff: how to cite a dataset built with this software.

    Args:
        years: The years of the images, ascending.
        version: Of the data format, e.g. "1.1.0".
    """
    return f"""cff-version: 1.2.0
type: dataset
title: Sentinel-2 image pairs with OpenStreetMap labels, {years[0]}-{years[-1]}
version: {version}
message: >-
  Cite the paper below. {copernicus_notice(years)}. Labels © OpenStreetMap contributors, ODbL 1.0.
authors:
  - name: OpenStreetMap contributors
  - name: European Union, Copernicus programme
references:
  - type: conference-paper
    title: "OpenSentinelMap: A Large-Scale Land Use Dataset using OpenStreetMap and Sentinel-2 Imagery"
    authors:
      - family-names: Johnson
      - family-names: Treible
      - family-names: Crispell
    conference:
      name: CVPR EarthVision workshop
    year: 2022
"""
