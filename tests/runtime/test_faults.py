"""The kinds of failure."""

from beam_pipeline.runtime.faults import Fault, InvalidInputError


def test_our_own_sentence_is_not_caught_with_the_errors_of_a_library() -> None:
    """Else it would be told as part of another, e.g. "is no JSON: There is no ..."."""
    assert InvalidInputError.__bases__ == Fault.__bases__ == (Exception,)
