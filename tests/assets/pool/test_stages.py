"""Which pairs of a pool of a few rows reach stage 1."""

from two_sources import POOL

from synpref_dagster.storage import read_frame


def test_risky_pairs_of_other_origin_reach_stage_one_up_to_their_share(place):
    def pools(share):
        found = place.run(POOL, max_risky_share=share)
        wild, unverified = (
            read_frame(place.ref(f"{name}_pool")) for name in ("wild", "unverified")
        )
        assert len(wild) + len(unverified) == place.ref("clean_pool").kept.num_rows == 9
        assert found["clean_pool"].metadata["num_contradictory_label"].value == 2
        assert found["clean_pool"].metadata["num_preference_cycle"].value == 3
        routed = found["unverified_pool"].metadata["num_risky_routed"].value
        assert routed == len(unverified) - 3
        assert found["wild_pool"].metadata["num_risky_left"].value == wild["risky"].sum()
        return routed

    assert pools(0.0) == 0
    assert pools(0.5) == 0  # at most one pair, but a contradiction is two
    assert pools(0.7) == 2
    assert pools(2.0) == 5  # the cycle of three too
