"""For people who train elsewhere than in `model_tf`: the same epochs, pixels, turns and targets without TensorFlow."""
