"""The graph as a whole: what exists, in which order, and what every asset must say of itself."""

import dagster as dg
import pytest

from synpref_dagster.assets.release.sizes import model_sizes
from synpref_dagster.definitions.build import build_defs
from synpref_dagster.definitions.jobs import ENDING_A_NIGHT
from synpref_dagster.reward.backbones import MODEL_SIZES
from synpref_dagster.settings.pool import NearDuplicateSettings, PersonalDataSettings
from synpref_dagster.settings.profile import load_profile, packaged_profiles

SEED_GROUPS = {
    "1_pool": {
        "pool_check",
        "raw_pool",
        "benchmark_prompts",
        "pii_report",
        "near_duplicates",
        "clean_pool",
        "unverified_pool",
        "strict_overlaps",
        "wild_pool",
        "vocabulary",
    },
    "2_attributes": {"attribute_labels", "pair_embeddings"},
    "3_seed": {"seed_candidates", "human_verified_seed", "silver_seed"},
}
CLOSING_GROUPS = {
    "4_labelled": {"gold", "silver"},
    "5_filtering": {
        "best_reward_model",
        "gold_reward_model",
        "pool_rewards",
        "flip_evidence",
        "relabelled_pairs",
        "consistency_filtered_subset",
        "recycled_pairs",
    },
    "6_release": {
        "skywork_reward_v2",
        "benchmark_scores",
        "leaderboard",
        "model_release",
        "curated_dataset",
        "judge_scores",
        "judge_leaderboard",
    },
    "7_evidence": {
        "iteration_curve",
        "curation_variants",
        "filter_audit",
        "judge_audit",
        "people_audit",
        "campaign_report",
    },
}
BY_HAND = {"near_duplicates", "pool_check"}
SIZED = {"skywork_reward_v2", "benchmark_scores", "model_release"}
SEED_MODEL = {"reward_model", "gold_confidence"}
ITERATION = SEED_MODEL | {"retrieved_pairs", "human_verdicts", "judge_votes", "gold", "silver"}
SELECTORS = [
    "raw_pool",
    "pii_report",
    "clean_pool",
    "unverified_pool",
    "human_verified_seed",
    "silver_seed",
    "consistency_filtered_subset",
    "iteration_01/gold",
    "iteration_01/silver",
]

INVARIANTS = {
    "conservation",
    "zero_contamination",
    "zero_strict_overlap",
    "no_exemplar_leak",
    "no_validation_conversation_trained_on",
    "disjoint_from_gold_00",
    "disjoint_from_gold_01",
    "flip_precision_gate",
}


def expected_groups(num_iterations):
    """The frozen list of assets by group: adding one is a decision, made here."""
    groups = {**SEED_GROUPS, **CLOSING_GROUPS}
    for number in range(num_iterations + 1):
        names = ITERATION if number else SEED_MODEL
        groups[f"4_iteration_{number:02d}"] = {f"iteration_{number:02d}/{name}" for name in names}
    return groups


def key(text):
    return dg.AssetKey.from_user_string(text)


def with_policy(policy):
    profile = load_profile("smoke")
    iterations = profile.iterations.model_copy(update={"human_policy": policy})
    return profile.model_copy(update={"iterations": iterations})


@pytest.fixture(scope="module")
def graph():
    return build_defs("smoke").resolve_asset_graph()


@pytest.mark.parametrize("profile", packaged_profiles())
def test_every_profile_gives_the_assets_of_the_design_and_no_other(profile):
    defs = build_defs(profile)
    dg.Definitions.validate_loadable(defs)
    graph = defs.resolve_asset_graph()
    groups = {}
    for each in graph.get_all_asset_keys():
        groups.setdefault(graph.get(each).group_name, set()).add(each.to_user_string())
    chosen = load_profile(profile)
    expected = expected_groups(chosen.iterations.num_iterations)
    if chosen.reward_model.backend == "frozen":
        expected["1_pool"] = expected["1_pool"] | {"backbone_features"}
    if chosen.embedding.kind != "tfidf":
        expected["2_attributes"] = expected["2_attributes"] | {"semantic_duplicates"}
    assert groups == expected


@pytest.mark.parametrize("profile", packaged_profiles())
def test_every_asset_says_what_it_is_whose_it_is_and_of_which_version(profile):
    graph = build_defs(profile).resolve_asset_graph()
    for each in graph.get_all_asset_keys():
        node = graph.get(each)
        name = each.to_user_string()
        assert len(node.description or "") > 40, name
        assert node.owners == ["team:preference-data"], name
        assert node.kinds, name
        assert node.code_version, name
        assert node.group_name != "default", name


@pytest.mark.parametrize("profile", packaged_profiles())
def test_no_asset_rests_on_a_later_group(profile):
    # The UI lists groups by name: read from top to bottom they are the order of the figure.
    graph = build_defs(profile).resolve_asset_graph()
    # Where judges cost money, labels are paid for first: what else asks them comes after.
    waits = {key("pii_report")} if load_profile(profile).judges.cost_money else set()
    for each in graph.get_all_asset_keys() - waits:
        node = graph.get(each)
        for parent in node.parent_keys:
            assert graph.get(parent).group_name <= node.group_name, (parent, each)


def test_iterations_rest_on_the_one_before():
    graph = build_defs("demo").resolve_asset_graph()
    for number in (1, 2):
        before, here = f"iteration_{number - 1:02d}", f"iteration_{number:02d}"
        gold = "human_verified_seed" if number == 1 else f"{before}/gold"
        silver = "silver_seed" if number == 1 else f"{before}/silver"
        retrieved = graph.get(key(f"{here}/retrieved_pairs")).parent_keys
        assert {key(gold), key(silver), key(f"{before}/gold_confidence")} <= retrieved
        assert key(gold) in graph.get(key(f"{here}/gold")).parent_keys
        assert key(silver) in graph.get(key(f"{here}/silver")).parent_keys
        assert graph.get(key(f"{here}/reward_model")).parent_keys >= {
            key(f"{here}/gold"),
            key(f"{here}/silver"),
        }


def test_stage_two_rests_on_the_last_pools_and_on_every_model(graph):
    models = graph.get(key("best_reward_model")).parent_keys
    assert {key("iteration_00/reward_model"), key("iteration_01/reward_model")} <= models
    decided = graph.get(key("consistency_filtered_subset")).parent_keys
    assert {key("gold"), key("silver")} <= decided
    for name in ("gold", "silver"):
        assert graph.get(key(name)).parent_keys == {key(f"iteration_01/{name}")}


@pytest.mark.parametrize("profile", packaged_profiles())
def test_gold_and_silver_are_the_waist_between_the_iterations_and_what_follows(profile):
    graph = build_defs(profile).resolve_asset_graph()
    audited = {key("people_audit")}  # it looks at every ledger
    for each in graph.get_all_asset_keys() - audited:
        if graph.get(each).group_name < "5":
            continue
        from_iterations = {
            parent.path[-1]
            for parent in graph.get(each).parent_keys
            if graph.get(parent).group_name.startswith("4_iteration")
        }
        assert from_iterations <= {"reward_model"}, each


def test_an_asset_has_no_edge_to_a_pool_that_one_of_its_inputs_names(graph):
    # Labels, vectors, gold and decisions name the pool they are of (`Campaign.named_in`). An edge
    # that runs along all of the figure is a decision, made here.
    children = {
        name: {child.to_user_string() for child in graph.get(key(name)).child_keys}
        for name in ("clean_pool", "unverified_pool", "vocabulary")
    }
    box_1 = SEED_GROUPS["1_pool"]
    assert children["clean_pool"] - box_1 == {
        *("pool_rewards", "consistency_filtered_subset", "campaign_report"),
    }
    assert children["unverified_pool"] - box_1 == {
        *("attribute_labels", "seed_candidates", "iteration_01/retrieved_pairs"),
        *("best_reward_model", "gold_reward_model"),
    }
    assert children["vocabulary"] == {
        *("pair_embeddings", "iteration_00/reward_model", "iteration_01/reward_model"),
        *("flip_evidence", "gold_reward_model", "skywork_reward_v2"),
    }


@pytest.mark.parametrize(
    ("policy", "first", "second"),
    [
        ("objective_first", "human_verdicts", "judge_votes"),
        ("judge_disagreement", "judge_votes", "human_verdicts"),
    ],
)
def test_the_policy_decides_whether_people_or_judges_go_first(policy, first, second):
    graph = build_defs(with_policy(policy)).resolve_asset_graph()
    parents = {name: graph.get(key(f"iteration_01/{name}")).parent_keys for name in (first, second)}
    assert key(f"iteration_01/{first}") in parents[second]
    assert key(f"iteration_01/{second}") not in parents[first]
    order = [each for level in graph.toposorted_asset_keys_by_level for each in level]
    assert len(order) == len(graph.get_all_asset_keys())  # acyclic: every asset has its place


def test_people_stand_between_what_they_are_asked_and_the_asset_that_waits():
    profile = load_profile("smoke")
    people = profile.people.model_copy(update={"backend": "page"})
    graph = build_defs(profile.model_copy(update={"people": people})).resolve_asset_graph()
    for asked, waiting in {
        "seed_candidates": "human_verified_seed",
        "iteration_01/retrieved_pairs": "iteration_01/human_verdicts",
    }.items():
        standing = graph.get(key(f"people/{waiting}"))
        assert standing.parent_keys == {key(asked)}
        assert standing.child_keys == {key(waiting)}
        assert not standing.is_materializable
        assert standing.group_name == graph.get(key(waiting)).group_name
    order = [each for level in graph.toposorted_asset_keys_by_level for each in level]
    assert len(order) == len(graph.get_all_asset_keys())


def test_jobs_cover_the_campaign_once_and_sizes_are_partitions():
    defs = build_defs("smoke")
    parts = ["curate_pool", "release_models", "refresh_leaderboard", "score_judges"]
    jobs = {name: defs.resolve_job_def(name) for name in [*parts, "filter_pool"]}
    selected = {
        name: {each.to_user_string() for each in job.asset_layer.selected_asset_keys}
        for name, job in jobs.items()
    }
    keys = defs.resolve_asset_graph().get_all_asset_keys()
    everything = {each.to_user_string() for each in keys} - BY_HAND
    # The leaderboard goes with every size, and once more before the report.
    assert sum(len(selected[name]) for name in parts) == len(everything) + 1
    assert set().union(*(selected[name] for name in parts)) == everything
    new_pairs = SEED_GROUPS["1_pool"] | SEED_GROUPS["2_attributes"]
    decided = CLOSING_GROUPS["4_labelled"] | CLOSING_GROUPS["5_filtering"]
    night = (new_pairs | decided) - BY_HAND - {"vocabulary"}
    assert selected["filter_pool"] == night | set(ENDING_A_NIGHT)
    assert set(ENDING_A_NIGHT) == {"curated_dataset", "leaderboard", "campaign_report"}
    assert selected["release_models"] == SIZED | {"leaderboard"}
    assert jobs["release_models"].partitions_def == model_sizes(load_profile("smoke"))
    assert jobs["curate_pool"].partitions_def is None


def with_pool(**changes):
    profile = load_profile("smoke")
    return profile.model_copy(update={"pool": profile.pool.model_copy(update=changes)})


def in_campaign(profile):
    job = build_defs(profile).resolve_job_def("curate_pool")
    return {each.to_user_string() for each in job.asset_layer.selected_asset_keys}


def test_reports_on_the_pool_are_part_of_a_campaign_as_the_profile_says():
    reports = {"pii_report", "near_duplicates"}
    assert in_campaign(with_pool()) & reports == {"pii_report"}
    off = with_pool(pii=PersonalDataSettings(action="off"))
    assert in_campaign(off) & reports == set()
    both = with_pool(near_duplicates=NearDuplicateSettings(in_campaign=True))
    assert in_campaign(both) & reports == reports


@pytest.mark.parametrize(("action", "rests"), [("report", False), ("off", False), ("drop", True)])
def test_the_clean_pool_rests_on_the_personal_data_report_only_to_drop(action, rests):
    graph = build_defs(with_pool(pii=PersonalDataSettings(action=action))).resolve_asset_graph()
    parents = graph.get(key("clean_pool")).parent_keys
    assert parents >= {key("raw_pool"), key("benchmark_prompts")}
    assert (key("pii_report") in parents) == rests


def test_the_eight_sizes_are_the_only_partitions_and_have_no_backfill_policy(graph):
    sizes = model_sizes(load_profile("smoke"))
    assert tuple(sizes.get_partition_keys()) == tuple(MODEL_SIZES)
    assert len(MODEL_SIZES) == 8
    keys = graph.get_all_asset_keys()
    sized = {each for each in keys if graph.get(each).is_partitioned}
    assert {each.to_user_string() for each in sized} == SIZED
    assert {graph.get(each).partitions_def for each in sized} == {sizes}
    # With a policy on one of them a backfill of one size becomes two runs with other tags.
    assert all(graph.get(each).backfill_policy is None for each in keys)


def test_every_selector_is_checked_for_conservation_and_stops_the_run(graph):
    for name in SELECTORS:
        check = graph.get_check_spec(dg.AssetCheckKey(key(name), "conservation"))
        assert check.blocking, name


def test_every_invariant_of_the_method_blocks(graph):
    checks = {}
    for each in graph.asset_check_keys:
        checks.setdefault(each.name, []).append(graph.get_check_spec(each))
    assert checks.keys() >= INVARIANTS
    for name in INVARIANTS:
        assert all(check.blocking for check in checks[name]), name
    assert all(check.description for found in checks.values() for check in found)


def test_costly_assets_wait_in_a_pool(graph):
    pools = {}
    for each in graph.get_all_asset_keys():
        for pool in graph.get(each).pools:
            pools.setdefault(pool, set()).add(each.to_user_string())
    assert {"skywork_reward_v2", "gold_reward_model", "iteration_01/reward_model"} <= pools["gpu"]
    assert {"silver_seed", "relabelled_pairs", "iteration_01/judge_votes"} <= pools["judge_api"]
    assert set(pools) == {"gpu", "judge_api"}
