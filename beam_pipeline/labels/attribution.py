"""Whose the data of labels and features is."""

OSM_ATTRIBUTION = (
    "Derived from OpenStreetMap, © OpenStreetMap contributors, under the Open Database License "
    "(ODbL) 1.0: https://www.openstreetmap.org/copyright"
)
"""Source: https://www.openstreetmap.org/copyright"""

ODBL_DUTIES = """whoever passes them on, or publishes
something made from them, names the source and offers a changed database under the same licence.
Text of the licence: https://opendatacommons.org/licenses/odbl/1-0/"""
"""The duties that the licence imposes, as the end of a sentence on Derivative Databases."""
