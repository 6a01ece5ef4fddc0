"""The notice that a store carries: it is a database derived from OpenStreetMap."""

from beam_pipeline.labels.attribution import ODBL_DUTIES, OSM_ATTRIBUTION


def store_licences_md() -> str:
    """Returns the text of a store's LICENSES.md."""
    return f"""# Licence of these features

{OSM_ATTRIBUTION}

The features are a Derivative Database in the sense of the ODbL: {ODBL_DUTIES}
"""
