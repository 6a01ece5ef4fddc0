"""The network against numpy, its shapes, sizes, costs and files."""

import dataclasses
import functools
from collections import Counter
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

from beam_pipeline.runtime.faults import InvalidInputError
from model_tf.network.architecture_summary import INPUT_STRIDES, cost_per_pixel
from model_tf.network.hrnet import WIDTHS, HRNetBackbone, HRNetSegmenter, build_hrnet, embedding_model, main
from model_tf.network.layers import GroupNorm, Units
from model_tf.network.receptive_field import trace
from tests.model_tf.network.numpy_hrnet import NumpyHRNet
from tests.model_tf.training.training_runs import build_small

ROOT = Path(__file__).resolve().parents[3]


def images(count: int, height: int, width: int, seed: int = 0) -> dict[str, np.ndarray]:
    """Standardised images of both grids."""
    rng = np.random.default_rng(seed)
    return {
        "gsd_10": rng.standard_normal((count, height, width, 4), np.float32),
        "gsd_20": rng.standard_normal((count, height // 2, width // 2, 6), np.float32),
    }


def drawn(net: keras.Model, seed: int = 0) -> keras.Model:
    """Gives a net other weights than the initial ones, so that gamma, beta and the head count."""
    rng = np.random.default_rng(seed)
    net.set_weights([weight + rng.normal(0, 0.1, weight.shape) for weight in net.get_weights()])
    return net


@functools.cache
def fresh(width: str) -> HRNetSegmenter:
    """A net that no test changes."""
    return build_hrnet(width, 15)


@pytest.fixture(scope="module")
def tiny() -> HRNetSegmenter:
    return drawn(build_hrnet("tiny", 15))


@pytest.mark.parametrize("upsample_20m", [False, True])
def test_net_computes_what_the_papers_say(upsample_20m):
    tiny = drawn(build_hrnet("tiny", 15, upsample_20m=upsample_20m))
    x = images(2, 12, 20)
    weights = {
        f"{layer.name}/{weight.name}": weight.numpy()
        for layer in (*tiny.backbone.layers, tiny.get_layer("head"))
        for weight in layer.weights
    }
    sizes = WIDTHS["tiny"]
    expected = NumpyHRNet(weights, sizes.bottlenecks, sizes.modules, sizes.blocks, {8: 8, 16: 8, 32: 8})
    for index in range(2):
        logits = expected.logits(x["gsd_10"][index], x["gsd_20"][index])
        np.testing.assert_allclose(tiny(x)[index], logits, atol=2e-4)
        embedding = expected.embed(x["gsd_10"][index], x["gsd_20"][index])
        np.testing.assert_allclose(embedding_model(tiny)(x)[index], embedding, atol=2e-4)


@pytest.mark.parametrize(("width", "embedding"), [("w18", 126), ("w32", 224), ("w48", 336), ("tiny", 56)])
def test_shapes_of_every_width(width, embedding):
    net = fresh(width)
    x = {name: keras.KerasTensor((None, None, None, bands)) for name, bands in (("gsd_10", 4), ("gsd_20", 6))}
    assert net(x).shape == (None, None, None, 15)
    assert embedding_model(net)(x).shape == (None, None, None, embedding)
    assert sum(WIDTHS[width].branch_widths) == embedding
    x = {"gsd_10": keras.KerasTensor((2, 192, 96, 4)), "gsd_20": keras.KerasTensor((2, 96, 48, 6))}
    assert net(x).shape == (2, 192, 96, 15)


def test_w18_has_the_units_of_hrnet():
    kinds = Counter(type(layer).__name__ for layer in fresh("w18").backbone.layers)
    # Two stems of two; four bottleneck units and a projection; then modules: blocks of two a branch, and
    # exchanges of 1 + 1 convolutions between two branches, of 3 up and 1 + 1 + 2 down between three.
    stage1, stage2, stage3 = 4 * 3 + 1, 2 * 4 * 2 + 2, 2 * (3 * 4 * 2 + 3 + 4)
    assert kinds["Conv2D"] == 2 + 2 + stage1 + 3 + stage2 + 1 + stage3
    assert kinds["GroupNorm"] == kinds["Conv2D"]


def test_all_weights_learn(tiny):
    x = images(1, 16, 16)
    with tf.GradientTape() as tape:
        loss = tf.reduce_mean(tiny(x) ** 2)
    gradients = tape.gradient(loss, [variable.value for variable in tiny.trainable_variables])
    for variable, gradient in zip(tiny.trainable_variables, gradients, strict=True):
        assert gradient is not None, variable.path
        assert np.isfinite(gradient).all()
        assert np.abs(gradient).max() > 0, variable.path


def test_both_inputs_count_everywhere(tiny):
    x = images(1, 16, 16)
    base = tiny(x).numpy()
    for name in x:
        changed = {**x, name: x[name] + np.random.default_rng(5).standard_normal(x[name].shape, np.float32)}
        assert (np.abs(tiny(changed) - base) > 1e-3).any(axis=-1).mean() > 0.99


def test_windows_with_overlap_give_the_whole(monkeypatch):
    # Without normalisation, what lies further from a window's edge than the field does not see the edge.
    monkeypatch.setattr(GroupNorm, "call", lambda self, x: x)
    backbone = build_hrnet("tiny", 1).backbone
    reach = trace(backbone, INPUT_STRIDES).reaches["gsd_10"]
    margin = 4 * -(-max(reach.before, reach.after) // 4) + 4
    x = images(1, 160, 160)
    whole = backbone(x).numpy()
    window = backbone(
        {"gsd_10": x["gsd_10"][:, 16:112, 32:128], "gsd_20": x["gsd_20"][:, 8:56, 16:64]}
    ).numpy()
    inner = slice(margin, 96 - margin)
    assert inner.stop > inner.start
    expected = whole[:, 16:112, 32:128][:, inner, inner]
    np.testing.assert_allclose(window[:, inner, inner], expected, atol=1e-4 * np.abs(whole).max())
    assert not np.allclose(window[:, :4, :4], whole[:, 16:20, 32:36], atol=1e-2 * np.abs(whole).max())


@pytest.mark.parametrize(
    ("ten", "twenty", "message"),
    [
        ((190, 192), (95, 96), r"height of gsd_10 must be a multiple of 4.*\(1, 190, 192, 4\)"),
        ((192, 191), (96, 95), r"width of gsd_10 must be a multiple of 4.*\(1, 192, 191, 4\)"),
        ((192, 192), (192, 192), r"height of gsd_20 must be half.*\(1, 192, 192, 4\).*\(1, 192, 192, 6\)"),
        ((64, 64), (32, 30), r"width of gsd_20 must be half.*\(1, 32, 30, 6\)"),
        ((0, 64), (0, 32), r"height of gsd_10 must be a multiple of 4"),
    ],
)
def test_sizes_that_do_not_fit_are_refused(tiny, ten, twenty, message):
    arrays = {"gsd_10": np.zeros((1, *ten, 4), np.float32), "gsd_20": np.zeros((1, *twenty, 6), np.float32)}
    symbols = {name: keras.KerasTensor(x.shape) for name, x in arrays.items()}
    for x in (arrays, symbols):
        for model in (tiny, embedding_model(tiny)):
            with pytest.raises(InvalidInputError, match=message):
                model(x)
    with pytest.raises(InvalidInputError, match=message):
        tiny.predict(arrays, verbose=0)


def test_bad_names_and_models_are_refused(tiny):
    with pytest.raises(InvalidInputError, match=r"width must be one of w18, w32, w48, tiny. Received: 'w64'"):
        build_hrnet("w64", 15)
    with pytest.raises(InvalidInputError, match=r"num_categories must be at least 1. Received: 0"):
        build_hrnet("tiny", 0)
    with pytest.raises(InvalidInputError, match="Received: HRNetBackbone"):
        embedding_model(tiny.backbone)
    with pytest.raises(ValueError, match="gsd_20"):
        tiny({"gsd_10": images(1, 16, 16)["gsd_10"]})


def test_head_is_one_pointwise_convolution(tiny):
    x = images(1, 16, 16)
    kernel, bias = tiny.get_layer("head").get_weights()
    assert kernel.shape == (1, 1, 56, 15)
    np.testing.assert_allclose(tiny(x), embedding_model(tiny)(x) @ kernel[0, 0] + bias, atol=1e-4)


def test_a_fresh_net_says_one_half():
    assert np.abs(build_hrnet("tiny", 15)(images(1, 32, 32))).max() < 0.5


def test_seed_alone_decides_the_weights():
    keras.utils.set_random_seed(1)
    first = build_small("tiny", 3, seed=7, blocks=1, bottlenecks=1).get_weights()
    keras.utils.set_random_seed(2)
    second, other = (
        build_small("tiny", 3, seed=seed, blocks=1, bottlenecks=1).get_weights() for seed in (7, 8)
    )
    assert all(np.array_equal(a, b) for a, b in zip(first, second, strict=True))
    kernels = [(a, b) for a, b in zip(first, other, strict=True) if a.ndim == 4]
    assert not any(np.array_equal(a, b) for a, b in kernels)
    # Nor do two layers of one shape share their draw.
    assert len({a.tobytes() for a, _ in kernels}) == len(kernels)


def test_kernels_begin_with_hes_deviation():
    kernel = fresh("w18").backbone.get_layer("stage1_1_2_conv").kernel.numpy()
    assert kernel.std() == pytest.approx(np.sqrt(2 / (3 * 3 * 64)), rel=0.02)


@pytest.mark.parametrize(("dtype", "upsample_20m"), [(None, False), ("mixed_bfloat16", False), (None, True)])
def test_config_round_trips(dtype, upsample_20m):
    net = build_hrnet("tiny", 4, seed=3, dtype=dtype, upsample_20m=upsample_20m)
    again = HRNetSegmenter.from_config(net.get_config())
    assert again.get_config() == net.get_config()
    assert again.backbone.get_config() == net.backbone.get_config()
    assert isinstance(HRNetBackbone.from_config(net.backbone.get_config()), HRNetBackbone)
    for layer, other in zip(net.backbone.layers, again.backbone.layers, strict=True):
        assert layer.get_config() == other.get_config()
    assert all(np.array_equal(a, b) for a, b in zip(net.get_weights(), again.get_weights(), strict=True))


def test_joining_branches_in_bfloat16_trains_under_xla():
    # TensorFlow compiles steps with XLA on accelerators, and its gradient of a bfloat16 resize does not compile.
    units = Units(0, keras.DTypePolicy("mixed_bfloat16"))
    branches = [keras.Input((8, 8, 3)), keras.Input((4, 4, 5)), keras.Input((2, 2, 2))]
    joined = keras.Model(branches, units.concatenate_at_full_resolution(branches, "joined"))
    x = [tf.ones((1, *branch.shape[1:]), tf.bfloat16) for branch in branches]

    @tf.function(jit_compile=True)
    def gradients():
        with tf.GradientTape() as tape:
            tape.watch(x)
            total = tf.reduce_sum(joined(x))
        return tape.gradient(total, x)

    # Every element's weight is spread over the pixels it became, all within the border's clamping.
    assert joined(x).dtype == tf.bfloat16
    assert [float(tf.reduce_sum(g)) for g in gradients()] == [3 * 64, 5 * 64, 2 * 64]


def test_bfloat16_keeps_logits_and_weights_in_float32(tiny, tmp_path):
    net = build_hrnet("tiny", 15, dtype="mixed_bfloat16")
    net.set_weights(tiny.get_weights())
    x = images(1, 32, 32)
    assert embedding_model(net)(x).dtype == tf.bfloat16
    assert net(x).dtype == tf.float32
    assert {variable.dtype for variable in net.variables} == {"float32"}
    scale = np.std(tiny(x))
    np.testing.assert_allclose(net(x), tiny(x), atol=0.15 * scale)
    net.save(tmp_path / "net.keras")
    np.testing.assert_array_equal(keras.models.load_model(tmp_path / "net.keras")(x), net(x))


def profiled_flops(graph: tf.Graph) -> int:
    """Counts the convolutions' FLOPs with TensorFlow's profiler."""
    options = tf.compat.v1.profiler.ProfileOptionBuilder.float_operation()
    options["account_type_regexes"] = ["Conv2D.*"]
    options["output"] = "none"
    return tf.compat.v1.profiler.profile(graph, options=options).total_float_ops


def specs(side: int) -> dict[str, tf.TensorSpec]:
    return {name: tf.TensorSpec((1, *x.shape[1:])) for name, x in images(1, side, side).items()}


@pytest.mark.parametrize("width", ["tiny", "w18"])
def test_flops_of_a_prediction_are_those_that_tensorflow_counts(width):
    net = fresh(width)
    forward = tf.function(net).get_concrete_function(specs(16))
    cost = cost_per_pixel(net.backbone, 15, trace(net.backbone, INPUT_STRIDES))
    assert profiled_flops(forward.graph) == round(cost.forward * 16**2)


@pytest.mark.slow
def test_flops_of_training_are_those_that_tensorflow_counts():
    # The profiler takes long; one of each unit is enough.
    net = build_small("tiny", 15, blocks=1, bottlenecks=1)

    @tf.function(input_signature=[specs(16)])
    def step(x):
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum(net(x) ** 2)
        return tape.gradient(loss, [variable.value for variable in net.trainable_variables])

    # With constants for variables, the sizes that gradients ask for are known.
    graph = convert_variables_to_constants_v2(step.get_concrete_function()).graph
    cost = cost_per_pixel(net.backbone, 15, trace(net.backbone, INPUT_STRIDES))
    assert profiled_flops(graph) == round(cost.training * 16**2)


def test_docs_show_the_summary_as_it_is(capsys):
    assert main(["--summary"]) == 0
    summary = capsys.readouterr().out.strip()
    assert (
        len([line for line in summary.splitlines() if line.split()[:1] in [[width] for width in WIDTHS]]) == 4
    )
    assert summary in (ROOT / "docs" / "network.md").read_text()


def test_a_summary_of_no_categories_is_refused(capsys):
    with pytest.raises(SystemExit, match="2"):
        main(["--summary", "--num_categories", "0"])
    assert "--num_categories must be at least 1. Received: 0" in capsys.readouterr().err


def test_widths_differ_in_nothing_else():
    big = [dataclasses.replace(WIDTHS[name], branch_widths=(1, 2, 4)) for name in ("w18", "w32", "w48")]
    assert big[0] == big[1] == big[2]
