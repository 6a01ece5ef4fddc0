"""Embeds all patches once: reading, the net and writing go on at the same time."""

import concurrent.futures
from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from beam_pipeline.runtime.faults import InvalidInputError
from beam_pipeline.runtime.foreign_text import one_line
from beam_pipeline.runtime.progress import Progress
from model_tf.downstream_tasks.cache import EmbeddingCache
from model_tf.downstream_tasks.encoders import Encoder, Pooled
from model_tf.downstream_tasks.inputs import Images, Preparation
from model_tf.downstream_tasks.patch_set import PatchSet


def cache_of(
    folder: str, patches: PatchSet, encoder: Encoder, preparation: Preparation, grid: int
) -> EmbeddingCache:
    """Returns where the embeddings of patches by an encoder belong."""
    statistics = sorted(preparation.statistics.to_json().items())
    key = f"2 {patches.fingerprint} {patches.crop_key} {encoder.key} {preparation.margin} {statistics} {grid}"
    return EmbeddingCache(folder, key, len(patches.patches), encoder.width, grid)


def embed(
    patches: PatchSet, encoder: Pooled, preparation: Preparation, cache: EmbeddingCache, at_once: int
) -> None:
    """Fills what is missing of a cache.

    Args:
        patches: The patches.
        encoder: The encoder, pooled onto the grid of the cache.
        preparation: Makes its inputs.
        cache: Gets the embeddings.
        at_once: Images of a batch.

    Raises:
        InvalidInputError: A file is damaged, or an embedding is NaN or infinite.
    """
    missing = cache.missing()
    if not missing:
        return
    cache.tidy()
    batches = [
        (part, range(start, min(start + at_once, which.stop)))
        for part in missing
        for which in [cache.patches_of(part)]
        for start in range(which.start, which.stop, at_once)
    ]

    def read(which: range) -> Images:
        return preparation.images(patches.read(which))

    offsets = patches.offsets
    done = len(patches.patches) - sum(len(which) for _, which in batches)
    with (
        Progress(
            len(patches.patches), f"embedding, {encoder.name}", "patches", done=done, leave=True
        ) as progress,
        concurrent.futures.ThreadPoolExecutor(1) as reading,
        concurrent.futures.ThreadPoolExecutor(1) as writing,
    ):
        ahead = reading.submit(read, batches[0][1])
        written: concurrent.futures.Future[None] | None = None
        means: list[npt.NDArray[np.float32]] = []
        grids: list[npt.NDArray[np.float16]] = []
        for index, (part, which) in enumerate(batches):
            images = ahead.result()
            if index + 1 < len(batches):
                ahead = reading.submit(read, batches[index + 1][1])
            mean, grid = encoder(images, offsets[which.start : which.stop])
            _require_finite(mean, patches, which, encoder)
            means.append(mean)
            grids.append(grid)
            if which.stop == cache.patches_of(part).stop:
                if written is not None:
                    written.result()
                written = writing.submit(_write(cache, part, means, grids))
                means, grids = [], []
            progress.update(len(which))
        if written is not None:
            written.result()


def _write(
    cache: EmbeddingCache,
    part: int,
    means: list[npt.NDArray[np.float32]],
    grids: list[npt.NDArray[np.float16]],
) -> Callable[[], None]:
    return lambda: cache.write(part, np.concatenate(means), np.concatenate(grids))


def _require_finite(mean: npt.NDArray[np.float32], patches: PatchSet, which: range, encoder: Pooled) -> None:
    for index in np.flatnonzero(~np.isfinite(mean).all(axis=1))[:1]:
        raise InvalidInputError(
            f"{encoder.name}: embeddings must be finite. Received: NaN or infinity for "
            f"{one_line(patches.patches[which[index]].name)}. Give another --checkpoint"
        )
