"""All formats by name."""

from beam_pipeline.exchange.card import Card
from beam_pipeline.exchange.format import Format
from beam_pipeline.exchange.geotiff_format import GeoTiff
from beam_pipeline.exchange.published import Published
from beam_pipeline.exchange.webdataset import WebDataset

FORMATS: dict[str, type[Format]] = {it.name: it for it in (Published, GeoTiff, WebDataset, Card)}
"""The formats by the value of --format."""
