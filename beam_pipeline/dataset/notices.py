"""The notices that every dataset carries: licences, attribution, how to cite."""

from collections.abc import Mapping, Sequence
from types import MappingProxyType

from beam_pipeline.dataset.fingerprint import Places
from beam_pipeline.labels.attribution import ODBL_DUTIES, OSM_ATTRIBUTION
from beam_pipeline.places.place_list import PlacesSource

ATTRIBUTION = {"labels": OSM_ATTRIBUTION}
"""Licence of the labels."""

PLACES_NOTICES: Mapping[PlacesSource, str] = MappingProxyType(
    {
        "eurosat": "Places and classes: EuroSAT, © 2018 Patrick Helber, Benjamin Bischke, Andreas Dengel, Damian "
        "Borth, under the MIT licence",
        "fmow": "Places and classes: Functional Map of the World (fMoW), Christie et al. 2018, under the Functional "
        "Map of the World Challenge Public License, which permits non-commercial use only and asks that adapted "
        "material is shared alike: https://github.com/fMoW/dataset/raw/master/LICENSE",
        "table": "Places and classes: of the table that was given, whose owner says what may be done with them",
    }
)
"""Licence of the places and classes of each kind of list."""


def attribution(places: Places | None = None) -> dict[str, str]:
    """Returns the licence of what the dataset holds beside imagery: its labels, or its places and classes.

    Args:
        places: Of a dataset of patches: its places.
    """
    return ATTRIBUTION if places is None else {"places": PLACES_NOTICES[places.source]}


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


def licences_md(years: Sequence[int], places: Places | None = None) -> str:
    """Returns the text of LICENSES.md.

    Args:
        years: The years of the images, ascending.
        places: Of a dataset of patches: its places.
    """
    labels = f"""## Labels

{OSM_ATTRIBUTION}

The label images are a Derivative Database in the sense of the ODbL: {ODBL_DUTIES}"""
    of_places = "" if places is None else f"## Places\n\n{PLACES_NOTICES[places.source]}."
    return f"""# Licences of this dataset

{of_places or labels}

## Imagery

{copernicus_notice(years)}.

Access to Sentinel data is free, full and open; this notice goes with whatever is passed on.
Terms: https://sentinels.copernicus.eu/documents/247904/690755/Sentinel_Data_Legal_Notice
"""


def citation_cff(years: Sequence[int], version: str, places: Places | None = None) -> str:
    """Returns the text of CITATION.cff: how to cite a dataset built with this software.

    Args:
        years: The years of the images, ascending.
        version: Of the data format, e.g. "1.1.0".
        places: Of a dataset of patches: its places.
    """
    if places is None:
        title, labels = (
            "image pairs with OpenStreetMap labels",
            "Labels © OpenStreetMap contributors, ODbL 1.0",
        )
        author = "OpenStreetMap contributors"
    else:
        title, labels = "images of labelled places", PLACES_NOTICES[places.source]
        author = "The authors of the list of places"
    return f"""cff-version: 1.2.0
type: dataset
title: Sentinel-2 {title}, {years[0]}-{years[-1]}
version: {version}
message: >-
  Cite the paper below. {copernicus_notice(years)}. {labels}.
authors:
  - name: {author}
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
