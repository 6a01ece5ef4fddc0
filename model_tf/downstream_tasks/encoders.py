"""Encoders of images: a trained net, the same net with random weights, or nothing at all."""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np
import numpy.typing as npt
import tensorflow as tf

from beam_pipeline.records.statistics import INPUT_BANDS
from model_tf.downstream_tasks.inputs import Images
from model_tf.downstream_tasks.set_norm import with_sample_norms
from model_tf.network.hrnet import build_hrnet, embedding_model, embedding_parts

_MOST = float(np.finfo(np.float16).max)


@dataclasses.dataclass(frozen=True)
class Encoder:
    """Embeds the pixels of images.

    Attributes:
        name: For people, e.g. "trained encoder".
        key: Says all that decides its embeddings.
        width: Channels E of an embedding.
        maps: From {"gsd_10", "gsd_20"} to parts of the embedding, (N, S, S, c) each, in operations of TensorFlow. Their
            channels, one part after the other, are those of the embedding.
        net: Makes the parts; None where there is no net.
    """

    name: str
    key: str
    width: int
    maps: Callable[[Any], Sequence[Any]]
    net: keras.Model | None = None


def of_net(net: keras.Model, name: str, key: str) -> Encoder:
    """Returns the frozen encoder of a net."""
    return _of_parts(embedding_parts(net), name, key, embedding_model(net).output_shape[-1])


def normalised_by(encoder: Encoder, sample: Images, sample_key: str) -> Encoder:
    """Returns the encoder with each normalisation by a sample's statistics; see `set_norm`.

    Args:
        encoder: One with a net.
        sample: Images of N patches, standardised.
        sample_key: Says which these are.
    """
    net = with_sample_norms(encoder.net)
    # In a graph, where what a layer made is forgotten when the next has used it.
    tf.function(lambda images: net(images, training=True))(
        {name: tf.constant(it) for name, it in sample.items()}
    )
    name, key = f"{encoder.name}, norm over patches", f"{encoder.key} norm {sample_key}"
    return _of_parts(net, name, key, encoder.width)


def _of_parts(net: keras.Model, name: str, key: str, width: int) -> Encoder:
    return Encoder(name, key, width, lambda images: net(images, training=False), net)


def random_net(width: str, num_categories: int, seed: int, upsample_20m: bool = False) -> Encoder:
    """Returns an encoder with fresh weights; its arguments are those of `build_hrnet`."""
    net = build_hrnet(width, num_categories, seed, upsample_20m=upsample_20m)
    kind = f"{width}, 20 m bands upsampled" if upsample_20m else width
    return of_net(net, f"random weights ({kind})", f"random {kind} {seed} keras {keras.__version__}")


def raw_reflectance() -> Encoder:
    """Returns the encoder that embeds a pixel as its ten standardised bands, those of 20 m repeated."""

    def maps(images: Any) -> list[Any]:
        return [images["gsd_10"], tf.repeat(tf.repeat(images["gsd_20"], 2, axis=1), 2, axis=2)]

    return Encoder("raw reflectance", "raw", sum(map(len, INPUT_BANDS.values())), maps)


class Pooled:
    """An encoder of images of one size, from which what is kept of their embeddings comes out.

    It is traced at its first call.

    Args:
        encoder: The encoder.
        side: Of the images, in 10 m pixels.
        crop: Side of the patch in pixels.
        grid: Side of what is kept; it divides `crop`.
        reach: Most rows or columns by which a patch lies off the middle of its image.
    """

    def __init__(self, encoder: Encoder, side: int, crop: int, grid: int, reach: int = 0) -> None:
        self.name = encoder.name
        sides = dict(zip(INPUT_BANDS, (side, side // 2), strict=True))
        signature = {
            name: tf.TensorSpec((None, sides[name], sides[name], len(bands)), tf.float32)
            for name, bands in INPUT_BANDS.items()
        }
        first, stop = (side - crop) // 2 - reach, (side + crop) // 2 + reach

        def averaged(one: Any, offsets: Any) -> Any:
            patch = tf.cast(one, tf.float32)
            if first:  # without context nothing is cut off, and TensorFlow would copy all of it
                patch = patch[:, first:stop, first:stop]
            if reach:
                for axis in (1, 2):
                    here = offsets[:, axis - 1, tf.newaxis] + tf.range(reach, reach + crop)
                    patch = tf.gather(patch, here, axis=axis, batch_dims=1)
            return tf.nn.avg_pool2d(patch, crop // grid, crop // grid, "VALID")

        @tf.function(  # type: ignore[untyped-decorator, unused-ignore]
            input_signature=[signature, tf.TensorSpec((None, 2), tf.int32)]
        )
        def of_images(images: Any, offsets: Any) -> Any:
            blocks = tf.concat([averaged(one, offsets) for one in encoder.maps(images)], axis=-1)
            mean = tf.reduce_mean(blocks, axis=(1, 2))
            return mean, tf.cast(tf.clip_by_value(blocks, -_MOST, _MOST), tf.float16)

        self._of_images = of_images

    def __call__(
        self, images: Images, offsets: npt.NDArray[np.int32]
    ) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float16]]:
        """Embeds N images.

        Args:
            images: The images.
            offsets: (N, 2) of `PatchSet.offsets`, -`reach` to `reach`.

        Returns:
            The mean embedding of each patch, (N, E) float32, and the means of blocks of crop / grid pixels,
            (N, grid, grid, E) float16.
        """
        of_images = {name: tf.constant(image) for name, image in images.items()}
        mean, blocks = self._of_images(of_images, tf.constant(offsets))
        return mean.numpy(), blocks.numpy()
