"""Near-duplicates of a pool of a few rows, and how they are related."""

import json

from two_sources import POOL

from synpref_dagster.storage import read_frame


def test_near_duplicates_are_reported_with_their_relation(place):
    ask = "Explain in plain words why the sky over the harbour turns red when evening comes near us"
    sun = "Low sun crosses more air, blue light is scattered away, red light is what is left over"
    sea = "Because the sea is blue in daytime and the evening wind carries its colour far away"
    rows = [
        {"prompt": ask, "chosen": sun, "rejected": sea},
        {"prompt": f"{ask} now", "chosen": sea, "rejected": sun},
        {"prompt": f"{ask} all", "chosen": sun, "rejected": sea},
    ]
    (place.folder / "web.jsonl").write_text("\n".join(map(json.dumps, rows)))
    found = place.run([*POOL, "near_duplicates"])["near_duplicates"].metadata
    assert found["num_links"].value >= 2
    assert found["num_opposite_label"].value >= 1
    assert (found["num_clusters"].value, found["num_in_clusters"].value) == (1, 3)
    assert "opposite_label" in found["links_by_source"].value
    links = read_frame(place.ref("near_duplicates")["links"])
    assert set(links["first_source"]) == {"web"}
    members = read_frame(place.ref("near_duplicates")["members"])
    clean = set(read_frame(place.ref("clean_pool").kept)["pair_id"])
    assert set(members["pair_id"]) <= clean
