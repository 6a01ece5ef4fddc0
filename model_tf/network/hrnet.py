"""The two-resolution HRNet: 10 m and 20 m bands in, an embedding of every 10 m pixel and its logits out.

    python -m model_tf.network.hrnet --summary

prints parameters, FLOPs, the receptive field and the embedding's width of every net that has a name.
docs/network.md says where the net follows HRNet, where it departs from it, and why.

Sources: Wang et al. 2020, Deep High-Resolution Representation Learning for Visual Recognition (HRNet);
Johnson et al. 2022, OpenSentinelMap, section 4.
"""

import argparse
import dataclasses
import sys
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

import keras

from beam_pipeline.records.schema import FEATURES
from beam_pipeline.runtime.faults import InvalidInputError
from model_tf.network.architecture_summary import summary_table
from model_tf.network.layers import Tensor, Units
from model_tf.network.losses import BatchSums, MaskedBinaryCrossentropy, mean_of_sums

NUM_BRANCHES = 3
"""Resolutions 1, 1/2 and 1/4: 10, 20 and 40 m. Source: Johnson et al. 2022, section 4."""

MULTIPLE = 2 ** (NUM_BRANCHES - 1)
"""The sides of an input, in 10 m pixels, are multiples of this."""

GSD_10, GSD_20 = "gsd_10", "gsd_20"

_JOINED = "embedding"
"""Name of the backbone's last layer."""


@dataclasses.dataclass(frozen=True)
class Architecture:
    """The sizes in which nets of the family differ.

    Attributes:
        branch_widths: Channels of the branches at 10, 20 and 40 m.
        stem_width: Channels of the stem, of the 20 m input block, and width of stage 1's bottleneck units.
        bottlenecks: Units of stage 1.
        modules: Modules of stage 2 (two branches) and of stage 3 (three branches).
        blocks: Basic blocks a branch in each module.
        upsample_20m: Whether the 20 m bands are brought to 10 m at the input and join the 10 m bands in theirs; the
            paper's net gives them an input block of their own.
    """

    branch_widths: tuple[int, int, int]
    stem_width: int = 64
    bottlenecks: int = 4
    modules: tuple[int, int] = (1, 2)
    blocks: int = 4
    upsample_20m: bool = False


WIDTHS: Mapping[str, Architecture] = MappingProxyType(
    {
        "w18": Architecture((18, 36, 72)),
        "w32": Architecture((32, 64, 128)),
        "w48": Architecture((48, 96, 192)),
        "tiny": Architecture((8, 16, 32), stem_width=8, bottlenecks=1, modules=(1, 1), blocks=2),
    }
)
"""The nets that have a name. Source of w18, w32, w48: Wang et al. 2020; `tiny` is ours, for minutes on a CPU."""


@keras.saving.register_keras_serializable("model_tf")
class HRNetBackbone(keras.Model):
    """Embeds every 10 m pixel.

    Input: {"gsd_10": (N, H, W, 4), "gsd_20": (N, H / 2, W / 2, 6)} float, standardised; H and W are multiples
    of 4. Output: (N, H, W, E) in the compute dtype, E the sum of the branches' widths.

    Args:
        branch_widths: As in `Architecture`.
        stem_width: As in `Architecture`.
        bottlenecks: As in `Architecture`.
        modules: As in `Architecture`.
        blocks: As in `Architecture`.
        upsample_20m: As in `Architecture`.
        seed: Of the initial weights.
        dtype: Dtype policy of every layer, e.g. "mixed_bfloat16"; None is Keras' global one.
        **kwargs: Of keras.Model.
    """

    def __init__(
        self,
        branch_widths: Sequence[int],
        stem_width: int,
        bottlenecks: int,
        modules: Sequence[int],
        blocks: int,
        upsample_20m: bool = False,
        seed: int = 0,
        dtype: Any = None,
        **kwargs: Any,
    ) -> None:
        policy = keras.dtype_policies.get(dtype or keras.config.dtype_policy())
        architecture = Architecture(
            (branch_widths[0], branch_widths[1], branch_widths[2]),
            stem_width,
            bottlenecks,
            (modules[0], modules[1]),
            blocks,
            upsample_20m,
        )
        inputs = _inputs(policy)
        embedding = _embed(inputs, architecture, Units(seed, policy))
        super().__init__(inputs=inputs, outputs=embedding, **kwargs)
        self.architecture = architecture
        self.seed = seed
        self.policy = policy

    def call(self, inputs: dict[str, Tensor], training: bool | None = None, mask: Any = None) -> Tensor:
        """Embeds a batch.

        Raises:
            InvalidInputError: A side is known and no multiple of 4, or gsd_20 is not half of gsd_10.
        """
        _check_inputs(inputs)
        return super().call(inputs, training=training, mask=mask)

    def compute_output_spec(
        self, inputs: dict[str, Tensor], training: bool | None = None, mask: Any = None
    ) -> Tensor:
        """Does what `call` does, of shapes alone."""
        _check_inputs(inputs)
        return super().compute_output_spec(inputs, training=training, mask=mask)

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        return {
            **dataclasses.asdict(self.architecture),
            "seed": self.seed,
            "dtype": keras.dtype_policies.serialize(self.policy),
            "name": self.name,
            "trainable": self.trainable,
        }


@keras.saving.register_keras_serializable("model_tf")
class HRNetSegmenter(keras.Model):
    """A backbone and one 1 x 1 convolution: logits of every category at every 10 m pixel.

    Input as of `HRNetBackbone`; output (N, H, W, num_categories), float32 also under mixed precision.

    Args:
        backbone: An `HRNetBackbone`.
        num_categories: Logits a pixel.
        **kwargs: Of keras.Model.
    """

    def __init__(self, backbone: HRNetBackbone, num_categories: int, **kwargs: Any) -> None:
        inputs = _inputs(backbone.policy)
        logits = Units(backbone.seed, backbone.policy).logits(backbone(inputs), num_categories, "head")
        super().__init__(inputs=inputs, outputs=logits, **kwargs)
        self.backbone = backbone
        self.num_categories = num_categories
        self.batch_sums = BatchSums()

    def compute_loss(
        self,
        x: Any = None,
        y: Any = None,
        y_pred: Any = None,
        sample_weight: Any = None,
        training: bool = True,
    ) -> Tensor:
        """Returns the loss of a batch; where it is a mean over known entries, `batch_sums` gets its two sums."""
        if not isinstance(self.loss, MaskedBinaryCrossentropy) or sample_weight is not None:
            return super().compute_loss(x, y, y_pred, sample_weight, training)
        total, known = self.loss.sums(y, y_pred)
        self.batch_sums.update_state(total, known)
        return mean_of_sums(total, known)

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        return {
            "backbone": keras.saving.serialize_keras_object(self.backbone),
            "num_categories": self.num_categories,
            "name": self.name,
            "trainable": self.trainable,
        }

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: Any = None) -> "HRNetSegmenter":
        """Builds a net of `get_config`."""
        backbone = keras.saving.deserialize_keras_object(config["backbone"], custom_objects)
        return cls(**{**config, "backbone": backbone})


def build_hrnet(
    width: str, num_categories: int, seed: int = 0, dtype: Any = None, upsample_20m: bool = False
) -> HRNetSegmenter:
    """Builds a net with fresh weights.

    Args:
        width: A key of `WIDTHS`.
        num_categories: Logits a pixel.
        seed: Of the weights; the same backend draws the same weights of it.
        dtype: Dtype policy, e.g. "mixed_bfloat16"; None is Keras' global one.
        upsample_20m: As in `Architecture`.

    Raises:
        InvalidInputError: `width` has no such key, or there is no category.
    """
    if width not in WIDTHS:
        raise InvalidInputError(f"width must be one of {', '.join(WIDTHS)}. Received: {width!r}")
    if num_categories < 1:
        raise InvalidInputError(f"num_categories must be at least 1. Received: {num_categories}")
    sizes = dataclasses.asdict(WIDTHS[width]) | {"upsample_20m": upsample_20m}
    backbone = HRNetBackbone(**sizes, seed=seed, dtype=dtype, name=f"hrnet_{width}")
    return HRNetSegmenter(backbone, num_categories, name=f"hrnet_{width}_segmenter")


def embedding_model(model: keras.Model) -> HRNetBackbone:
    """Returns the part of a net that gives embeddings (N, H, W, E); it shares the net's weights.

    Raises:
        InvalidInputError: The model is no `HRNetSegmenter`.
    """
    if not isinstance(model, HRNetSegmenter):
        raise InvalidInputError(
            f"Only a net made by build_hrnet has embeddings of its pixels. Received: {type(model).__name__}"
        )
    return model.backbone


def embedding_parts(model: keras.Model) -> keras.Model:
    """Returns the part of a net that gives embeddings before they are joined; it shares the net's weights.

    To join the parts is to copy all of them, which averages of embeddings do without.

    Returns:
        A net that gives a list of (N, H, W, c), one a branch, whose channels in turn are those of the embedding.

    Raises:
        InvalidInputError: As of `embedding_model`.
    """
    backbone = embedding_model(model)
    return keras.Model(backbone.inputs, backbone.get_layer(_JOINED).input)


def check_sizes(shapes: Mapping[str, tuple[int | None, ...]]) -> None:
    """Checks the sides of the two inputs that are known.

    Args:
        shapes: (N, H, W, C) of "gsd_10" and "gsd_20", None for what is not known.

    Raises:
        InvalidInputError: A side of gsd_10 is no multiple of 4, or that of gsd_20 is not half of it.
    """
    for axis, side in ((1, "height"), (2, "width")):
        ten, twenty = shapes[GSD_10][axis], shapes[GSD_20][axis]
        if ten is not None and (ten == 0 or ten % MULTIPLE):
            raise InvalidInputError(
                f"The {side} of gsd_10 must be a multiple of {MULTIPLE} pixels, because the network halves it "
                f"{NUM_BRANCHES - 1} times: crop or pad the image. Received: gsd_10 of shape {shapes[GSD_10]}"
            )
        if ten is not None and twenty is not None and ten != 2 * twenty:
            raise InvalidInputError(
                f"The {side} of gsd_20 must be half of gsd_10's: they must cover the same ground. "
                f"Received: gsd_10 of shape {shapes[GSD_10]}, gsd_20 of shape {shapes[GSD_20]}"
            )


def _check_inputs(inputs: Mapping[str, Tensor]) -> None:
    check_sizes({name: tuple(x.shape) for name, x in inputs.items()})


def _inputs(policy: keras.DTypePolicy) -> dict[str, Tensor]:
    return {
        name: keras.Input(
            (None, None, FEATURES[f"image_0/{name}"].shape[-1]), dtype=policy.variable_dtype, name=name
        )
        for name in (GSD_10, GSD_20)
    }


def _embed(inputs: Mapping[str, Tensor], sizes: Architecture, units: Units) -> Tensor:
    """The backbone's graph, from the inputs to the embedding."""
    stem = sizes.stem_width
    bands = inputs[GSD_10]
    if sizes.upsample_20m:
        bands = units.concatenate_at_full_resolution([bands, inputs[GSD_20]], "bands")
    fine = units.conv_norm(bands, stem, 3, "stem10_1", relu=True)
    fine = units.conv_norm(fine, stem, 3, "stem10_2", relu=True)
    for unit in range(sizes.bottlenecks):
        fine = units.bottleneck(fine, stem, f"stage1_{unit}")
    coarse = None
    if not sizes.upsample_20m:
        coarse = units.conv_norm(inputs[GSD_20], stem, 3, "stem20_1", relu=True)
        coarse = units.conv_norm(coarse, stem, 3, "stem20_2", relu=True)

    branches = _begin_two_branches(fine, coarse, sizes, units)
    for module in range(sizes.modules[0]):
        branches = _module(branches, sizes.blocks, f"stage2_{module}", units)
    branches.append(
        units.conv_norm(branches[-1], sizes.branch_widths[2], 3, "transition2_to2", strides=2, relu=True)
    )
    for module in range(sizes.modules[1]):
        branches = _module(branches, sizes.blocks, f"stage3_{module}", units)
    return units.concatenate_at_full_resolution(branches, _JOINED)


def _begin_two_branches(
    fine: Tensor, coarse: Tensor | None, sizes: Architecture, units: Units
) -> list[Tensor]:
    """Begins stage 2: 20 m bands that have an input meet the 10 m features as branches meet in an exchange unit."""
    widths = sizes.branch_widths
    full = units.conv_norm(fine, widths[0], 3, "transition1_to0", relu=True)
    half = units.conv_norm(fine, widths[1], 3, "transition1_to1", strides=2, relu=coarse is None)
    if coarse is None:
        return [full, half]
    from_20 = units.conv_norm(coarse, widths[1], 3, "transition1_20to1")
    return [full, units.add_relu([half, from_20], "transition1_to1")]


def _module(branches: list[Tensor], blocks: int, name: str, units: Units) -> list[Tensor]:
    """One HRNet module: blocks along every branch, then an exchange unit."""
    outputs = []
    for index, x in enumerate(branches):
        for block in range(blocks):
            x = units.basic_block(x, f"{name}_branch{index}_{block}")
        outputs.append(x)
    return units.exchange(outputs, f"{name}_exchange")


def main(arguments: Sequence[str] | None = None) -> int:
    """Prints what `--summary` asks for; returns the exit code."""
    parser = argparse.ArgumentParser(description="The network's sizes and costs.")
    parser.add_argument("--summary", action="store_true", required=True, help="print a table of all widths")
    parser.add_argument("--num_categories", type=int, default=15, help="logits a pixel (default: 15)")
    given = parser.parse_args(arguments)
    if given.num_categories < 1:
        parser.error(f"--num_categories must be at least 1. Received: {given.num_categories}")
    nets = {width: build_hrnet(width, given.num_categories) for width in WIDTHS}
    print(summary_table(nets))
    return 0


if __name__ == "__main__":
    sys.exit(main())
