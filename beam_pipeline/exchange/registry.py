"""All formats by name."""

from beam_pipeline.exchange.format import Format
from beam_pipeline.exchange.published import Published

FORMATS: dict[str, type[Format]] = {it.name: it for it in (Published,)}
"""The formats by the value of --format."""
