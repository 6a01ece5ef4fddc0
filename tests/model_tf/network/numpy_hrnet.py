"""HRNet's forward pass in numpy, from the papers: the answer that the network is compared with."""

from collections.abc import Mapping

import numpy as np

EPSILON = 1e-5


class NumpyHRNet:
    """The net in float64 on one image, read from weights by name.

    Args:
        weights: Arrays by "layer/variable", e.g. "stem10_1_conv/kernel".
        bottlenecks: Units of stage 1.
        modules: Modules of stages 2 and 3.
        blocks: Basic blocks a branch.
        group_channels: Channels of a group by channels of the normalised tensor.
    """

    def __init__(
        self,
        weights: Mapping[str, np.ndarray],
        bottlenecks: int,
        modules: tuple[int, int],
        blocks: int,
        group_channels: Mapping[int, int],
    ) -> None:
        self.weights = {name: np.asarray(value, np.float64) for name, value in weights.items()}
        self.bottlenecks, self.modules, self.blocks = bottlenecks, modules, blocks
        self.group_channels = group_channels

    def convolve(self, x: np.ndarray, name: str, stride: int = 1) -> np.ndarray:
        """Convolves (H, W, C) and normalises, output (i, j) from the rows stride i + 0, 1, 2 - padding."""
        kernel = self.weights[f"{name}_conv/kernel"]
        size = kernel.shape[0]
        before = {(1, 1): 0, (3, 1): 1, (3, 2): 0}[size, stride]
        height, width = x.shape[0] // stride, x.shape[1] // stride
        padded = np.zeros((x.shape[0] + size, x.shape[1] + size, x.shape[2]))
        padded[before : before + x.shape[0], before : before + x.shape[1]] = x
        y = np.zeros((height, width, kernel.shape[3]))
        for i in range(size):
            for j in range(size):
                rows = padded[i : i + stride * height : stride, j : j + stride * width : stride]
                y += rows @ kernel[i, j]
        return self.normalise(y, name)

    def normalise(self, x: np.ndarray, name: str) -> np.ndarray:
        """Subtracts mean and divides by deviation of each group of neighbouring channels."""
        step = self.group_channels[x.shape[-1]]
        y = np.empty_like(x)
        for start in range(0, x.shape[-1], step):
            group = x[..., start : start + step]
            y[..., start : start + step] = (group - group.mean()) / np.sqrt(group.var() + EPSILON)
        return y * self.weights[f"{name}_norm/gamma"] + self.weights[f"{name}_norm/beta"]

    def conv_relu(self, x: np.ndarray, name: str, stride: int = 1) -> np.ndarray:
        return np.maximum(self.convolve(x, name, stride), 0)

    def basic_block(self, x: np.ndarray, name: str) -> np.ndarray:
        return np.maximum(x + self.convolve(self.conv_relu(x, f"{name}_1"), f"{name}_2"), 0)

    def bottleneck(self, x: np.ndarray, name: str) -> np.ndarray:
        y = self.conv_relu(self.conv_relu(x, f"{name}_1"), f"{name}_2")
        y = self.convolve(y, f"{name}_3")
        if f"{name}_projection_conv/kernel" in self.weights:
            x = self.convolve(x, f"{name}_projection")
        return np.maximum(x + y, 0)

    def module(self, branches: list[np.ndarray], name: str) -> list[np.ndarray]:
        for block in range(self.blocks):
            branches = [self.basic_block(x, f"{name}_branch{b}_{block}") for b, x in enumerate(branches)]
        name = f"{name}_exchange"
        outputs = [x.copy() for x in branches]
        for target, total in enumerate(outputs):
            for source, x in enumerate(branches):
                y, path = x, f"{name}_{source}to{target}"
                if source > target:
                    y = self.convolve(y, path)
                    times = 2 ** (source - target)
                    y = y.repeat(times, axis=0).repeat(times, axis=1)
                elif source < target:
                    for step in range(target - source - 1):
                        y = self.conv_relu(y, f"{path}_{step}", 2)
                    y = self.convolve(y, f"{path}_{target - source - 1}", 2)
                if source != target:
                    total += y
        return [np.maximum(total, 0) for total in outputs]

    def embed(self, gsd_10: np.ndarray, gsd_20: np.ndarray) -> np.ndarray:
        """Embeds (H, W, 4) and (H / 2, W / 2, 6) as (H, W, E)."""
        joins = "stem20_1_conv/kernel" not in self.weights  # upsample_20m
        bands = np.concatenate([gsd_10, bilinear_both(gsd_20, 2)], axis=-1) if joins else gsd_10
        fine = self.conv_relu(self.conv_relu(bands, "stem10_1"), "stem10_2")
        for unit in range(self.bottlenecks):
            fine = self.bottleneck(fine, f"stage1_{unit}")
        half = self.convolve(fine, "transition1_to1", 2)
        if not joins:
            coarse = self.conv_relu(self.conv_relu(gsd_20, "stem20_1"), "stem20_2")
            half = half + self.convolve(coarse, "transition1_20to1")
        branches = [self.conv_relu(fine, "transition1_to0"), np.maximum(half, 0)]
        for module in range(self.modules[0]):
            branches = self.module(branches, f"stage2_{module}")
        branches.append(self.conv_relu(branches[1], "transition2_to2", 2))
        for module in range(self.modules[1]):
            branches = self.module(branches, f"stage3_{module}")
        return np.concatenate([bilinear_both(x, 2**b) for b, x in enumerate(branches)], axis=-1)

    def logits(self, gsd_10: np.ndarray, gsd_20: np.ndarray) -> np.ndarray:
        """Returns (H, W, categories)."""
        return self.embed(gsd_10, gsd_20) @ self.weights["head/kernel"][0, 0] + self.weights["head/bias"]


def bilinear_both(x: np.ndarray, factor: int) -> np.ndarray:
    """Interpolates along both axes of (H, W, C)."""
    return bilinear(bilinear(x, factor).swapaxes(0, 1), factor).swapaxes(0, 1)


def bilinear(x: np.ndarray, factor: int) -> np.ndarray:
    """Interpolates along axis 0 between the centres of pixels; beyond the outermost centres, their value."""
    places = (np.arange(factor * len(x)) + 0.5) / factor - 0.5
    columns = x.reshape(len(x), -1).T
    y = np.stack([np.interp(places, np.arange(len(x)), column) for column in columns], axis=-1)
    return y.reshape(len(places), *x.shape[1:])
