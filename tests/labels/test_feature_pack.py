from hypothesis import given
from hypothesis import strategies as st

from beam_pipeline.labels.feature import Feature
from beam_pipeline.labels.feature_pack import pack_features, unpack_features


@given(
    st.lists(
        st.builds(
            Feature,
            st.sampled_from(["node", "way", "relation"]),
            st.integers(1, 2**60),
            st.lists(st.tuples(st.text(), st.text()), max_size=3).map(tuple),
            st.binary(max_size=50),
        ),
        max_size=5,
    )
)
def test_packed_features_come_back(features: list[Feature]) -> None:
    assert list(unpack_features(pack_features(features))) == features
