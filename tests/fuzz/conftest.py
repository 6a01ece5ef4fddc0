"""The time that the fuzzing lasts: `pytest tests/fuzz --hypothesis-profile=long --hypothesis-show-statistics`."""

from hypothesis import HealthCheck, settings

settings.register_profile("long", max_examples=5000, suppress_health_check=[HealthCheck.too_slow])
