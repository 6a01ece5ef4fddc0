"""Settings and presets: what is refused, what goes to JSON and back."""

import dataclasses
import json
from pathlib import Path

import pydantic
import pytest

from beam_pipeline.runtime.faults import InvalidInputError
from model_tf.training.settings import PRESETS, STRATEGIES, TrainSettings


def test_the_paper_s_preset_is_the_paper_s() -> None:
    """Source: spec, section 2."""
    paper = PRESETS["paper"]()
    assert (paper.width, paper.epochs, paper.warmup_epochs, paper.pairs_per_batch) == ("w18", 225, 10, 16)
    assert (paper.momentum, paper.peak_rate, paper.final_rate) == (0.9, 0.01, 0.0001)
    assert (paper.weight_decay, paper.class_weights, paper.augment) == (0.0, (), True)


@pytest.mark.parametrize("name", PRESETS)
def test_presets_say_command_cost_and_expected_score(name: str) -> None:
    text = PRESETS[name].__doc__ or ""
    assert f"--preset {name}" in text
    for word in ("Command:", "Cost:", "Expected:"):
        assert word in text


def test_the_documented_presets_are_the_presets() -> None:
    text = (Path(__file__).resolve().parents[3] / "docs" / "training.md").read_text()
    table = [line.strip("|").split("|") for line in text.splitlines() if line.startswith("|")]
    rows = {row[0].strip(): [cell.strip() for cell in row[1:]] for row in table}
    for column, name in enumerate(("paper", "tiny")):
        preset = PRESETS[name]()
        documented = {head: cells[column] for head, cells in rows.items() if len(cells) == 2}
        assert documented["network ([network.md](network.md))"] == preset.width
        assert documented["epochs, of them warm-up"] == f"{preset.epochs}, {preset.warmup_epochs:g}"
        rates = f"{preset.peak_rate:g} to {preset.final_rate:g}"
        assert documented["learning rate, peak to final"] == rates
        assert documented["pairs a step"] == str(preset.pairs_per_batch)
        assert documented["validated on"] == f"{preset.validation_pairs} cells, one year each"


@pytest.mark.parametrize("name", PRESETS)
def test_json_round_trips(name: str) -> None:
    settings = PRESETS[name]()
    weighed = dataclasses.replace(settings, class_weights=(("road", 2.0), ("building", 0.5)))
    adapter = pydantic.TypeAdapter(TrainSettings)
    for made in (settings, weighed):
        assert adapter.validate_json(json.dumps(made.to_json()), strict=True) == made


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"width": "w64"}, "--width is one of w18, w32, w48, tiny. Received: w64"),
        ({"epochs": 0}, "--epochs must be at least 1. Received: 0"),
        ({"pairs_per_batch": 0}, "--pairs_per_batch"),
        ({"epochs": 10, "warmup_epochs": 10.0}, "--warmup_epochs must be at least 0 and below 10"),
        ({"momentum": 1.0}, "--momentum"),
        ({"final_rate": 0.1}, "--final_rate"),
        ({"peak_rate": float("nan")}, "--final_rate"),
        ({"weight_decay": -1.0}, "--weight_decay"),
        ({"class_weights": (("road", -2.0),)}, "--class_weights road"),
        ({"class_weights": (("road", 2.0), ("road", 3.0))}, "a category once. Received: road=2,road=3"),
        ({"seed": -1}, "--seed must be at least 0 and below 4294967296. Received: -1"),
        ({"seed": 2**32}, "--seed must be at least 0 and below 4294967296. Received: 4294967296"),
        ({"precision": "float16"}, "--precision is one of float32, bfloat16"),
        ({"backend": "theano"}, "--backend is one of"),
        ({"strategy": "data-parallel"}, "--strategy on the tensorflow backend is one of none, mirrored"),
        (
            {"backend": "jax", "strategy": "mirrored"},
            "--strategy on the jax backend is one of none, data-parallel",
        ),
    ],
)
def test_what_cannot_be_is_refused(given: dict[str, object], said: str) -> None:
    with pytest.raises(InvalidInputError, match=said):
        TrainSettings(**given)


def test_every_strategy_of_every_backend_is_accepted() -> None:
    for backend, strategies in STRATEGIES.items():
        for strategy in strategies:
            settings = TrainSettings(backend=backend, strategy=strategy)
            assert (settings.backend, settings.strategy) == (backend, strategy)
