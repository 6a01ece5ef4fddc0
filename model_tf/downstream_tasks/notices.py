"""The licences of what lies in an output folder."""

from model_tf.downstream_tasks.patch_set import PatchSet

TRAINED_NOTICE = (
    "Embeddings of the trained encoder, and what is derived from them: the network was trained on labels derived from "
    "OpenStreetMap, © OpenStreetMap contributors, under the Open Database License (ODbL) 1.0: "
    "https://www.openstreetmap.org/copyright"
)
"""Of a net that was trained on a dataset of ours."""


def licences_md(patches: PatchSet, *, trained: bool) -> str:
    """Returns the text of LICENSES.md.

    Args:
        patches: What was classified.
        trained: Whether a trained encoder is among those that embedded it.
    """
    paragraphs = [*patches.notices, *([TRAINED_NOTICE] if trained else [])]
    return "\n\n".join(["# Licences of these results", *paragraphs]) + "\n"
