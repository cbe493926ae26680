"""Every setting of a profile starts a night, or does not, as it decides about pairs."""

import warnings
from types import UnionType
from typing import Literal, Union, get_args, get_origin

from synpref_dagster.resources.heard import compared, settings_told as told
from synpref_dagster.settings.profile import Profile
from synpref_dagster.settings.section import Section

BASE = {
    "name": "all",
    "pool": {
        "kind": "sources",
        "sources": [{"name": "a", "hub_id": "o/a", "revision": "1", "origin": "human"}],
    },
    "seed_set": {"num_gold": 1, "num_silver": 1},
    "iterations": {"num_iterations": 1, "max_retrieved": 1, "num_human": 1},
    "judges": {
        "kind": "endpoints",
        "endpoints": [{"name": "j", "base_url": "http://127.0.0.1:1/v1", "model": "m"}],
    },
    "backbones": [{"name": "qwen3-0.6b", "lora": {"rank": 1}}],
    "reward_model": {"backend": "hub", "lora": {"rank": 1}},
    "release": {"backend": "hub", "lora": {"rank": 1}},
}
STARTS_A_NIGHT = """
    name seed
    pool.kind pool.world.num_unverified pool.world.num_wild pool.world.num_test
    pool.world.benchmark_sizes pool.sources.name pool.sources.path pool.sources.hub_id
    pool.sources.revision pool.sources.format pool.sources.origin pool.sources.licence
    pool.sources.citation pool.sources.options pool.benchmarks pool.benchmark_subsets
    pool.custom_benchmarks pool.test_debates pool.test_splits pool.label_noise.flip_share
    pool.label_noise.longer_share pool.ngram_words pool.recheck_contamination
    pool.strict_pass.enabled pool.strict_pass.min_words pool.strict_pass.max_words
    pool.strict_pass.judges_clear pool.max_risky_share pool.pii.action pool.pii.drop_level
    seed_set.num_gold seed_set.num_silver seed_set.validation_share seed_set.max_risky_share
    iterations.num_iterations iterations.max_retrieved iterations.num_human iterations.human_policy
    iterations.low_margin
    people.backend people.double_share people.adjudicate people.consensus people.deadline_hours
    people.min_share people.alpha_floor people.min_pairs_for_alpha people.pre_verify
    people.recorded_first
    judges.kind judges.num_samples judges.num_exemplars judges.endpoints.name
    judges.endpoints.base_url judges.endpoints.model judges.endpoints.num_samples
    judges.endpoints.temperature judges.endpoints.max_tokens judges.endpoints.extra
    judges.endpoints.leave_out judges.panel judges.min_gold_agreement judges.num_screened
    embedding.kind embedding.model_size embedding.path embedding.revision embedding.base_url
    embedding.model embedding.dimensions embedding.max_characters
    backbones.name backbones.path backbones.revision backbones.gguf_file backbones.pad_token
    backbones.learning_rate backbones.batch_pairs backbones.max_length_tokens backbones.dtype
    backbones.lora.rank backbones.lora.alpha backbones.lora.target_modules
    reward_model.backend reward_model.model_size reward_model.backbone reward_model.learning_rate
    reward_model.batch_pairs reward_model.num_steps reward_model.num_epochs reward_model.schedule
    reward_model.max_length_tokens reward_model.evaluate_every_steps reward_model.loss.name
    reward_model.loss.centre_coefficient reward_model.loss.temperature reward_model.loss.focal_gamma
    reward_model.loss.target_margin reward_model.loss.tempering reward_model.lora
    reward_model.lora.rank reward_model.lora.alpha reward_model.lora.target_modules
    reward_model.layers reward_model.poolings reward_model.penalties reward_model.dtype
    reward_model.gradient_checkpointing
    filtering.unsure_band filtering.recycle filtering.guard_floor filtering.cross_fit_folds
    export.allowed_licences
"""  # decides about a pair, or the export says it of its data
STARTS_NOTHING = """
    key_prefix simulated next_steps executor
    pool.sources.may_leave pool.allow_missing_files pool.recorded_verdicts pool.pii.num_sampled
    pool.near_duplicates.in_campaign pool.near_duplicates.min_similarity
    people.ledger_url people.label_studio_url filtering.allow_weak_models
    judges.max_usd judges.cache judges.endpoints.api_key_env judges.endpoints.usd_per_million_input
    judges.endpoints.usd_per_million_output judges.endpoints.batch
    judges.endpoints.batch_price_share judges.endpoints.max_batches judges.endpoints.max_usd
    judges.endpoints.max_concurrency judges.endpoints.max_attempts judges.endpoints.timeout_seconds
    embedding.min_cosine embedding.api_key_env embedding.batch_size embedding.max_usd
    embedding.usd_per_million_input embedding.max_concurrency embedding.max_attempts
    embedding.timeout_seconds
    backbones.licence reward_model.num_processes
    release.backend release.backbones release.learning_rate release.batch_pairs release.num_steps
    release.num_epochs release.schedule release.max_length_tokens release.evaluate_every_steps
    release.num_processes release.loss.name release.loss.centre_coefficient release.loss.temperature
    release.loss.focal_gamma release.loss.target_margin release.loss.tempering release.lora
    release.lora.rank release.lora.alpha release.lora.target_modules release.layers
    release.poolings release.penalties release.dtype release.gradient_checkpointing
    gates.min_gold_accuracy evidence.num_judged evidence.thresholds export.trusted_hosts
    evidence.variants.trained_like evidence.variants.model_size evidence.variants.training_sets
    evidence.variants.num_pairs
    shards.executor shards.workers shards.model_workers shards.ray.address
    shards.ray.cpus_per_worker shards.ray.gpus_per_model_worker shards.ray.max_retries
    shards.ray.start_timeout_seconds shards.ray.object_store_mb
"""  # where work is done, what it may cost, where answers are kept, releases, reports, texts
VECTORS = (
    {"kind": "backbone", "model_size": "qwen3-0.6b"},
    {"kind": "sentence_transformers", "path": "o/encoder"},
    {"kind": "endpoint", "base_url": "http://127.0.0.1:1/v1", "model": "m"},
)
LOSSES = ("bradley_terry", "temperature", "focal", "hinge", "tempered_log")
MODELS = [
    *({"backend": backend} for backend in ("linear", "frozen", "hub")),
    *({"backend": "stand_in", "loss": {"name": name}} for name in LOSSES),
]


def variants():
    """Profiles that have every section among them."""
    yield Profile.model_validate(BASE)
    for model in MODELS:
        changed = {"reward_model": model}
        if model["backend"] != "linear":
            changed["release"] = model
        yield Profile.model_validate(BASE | changed)
    for embedding in VECTORS:
        yield Profile.model_validate(BASE | {"embedding": embedding})


def other(value, annotation):
    """Another value of a field, of a type that it may have."""
    kinds = [annotation]
    while any(get_origin(kind) in (Union, UnionType) for kind in kinds):
        kinds = [part for kind in kinds for part in get_args(kind) or [kind]]
    for kind in kinds:
        if get_origin(kind) is Literal:
            return next((each for each in get_args(kind) if each != value), "another")
        if get_origin(kind) is tuple:
            return (*(value or ()), other(None, get_args(kind)[0]))
        if get_origin(kind) is dict:
            return {**(value or {}), "new": other(None, get_args(kind)[1])}
        if get_origin(kind) is not None:  # with rules
            return other(value, get_args(kind)[0])
        if kind in (int, float):
            return kind((value or 0) + 1)
        if kind is bool:
            return not value
        if kind is str:
            return f"{value}x"
    return "x"


def fields(section, place=""):
    """(place, how to have another value there) of every setting that holds no section itself."""
    for name, field in type(section).model_fields.items():
        value, where = getattr(section, name), f"{place}{name}"
        one = value[0] if isinstance(value, tuple) and value else value
        if isinstance(one, Section):
            for inner, change in fields(one, f"{where}."):
                yield (
                    inner,
                    lambda change=change, name=name, one=one, value=value: section.model_copy(
                        update={name: (change(),) if one is not value else change()}
                    ),
                )
        else:
            new = other(value, field.annotation)
            yield where, lambda name=name, new=new: section.model_copy(update={name: new})


def heard():
    """Place of every setting -> whether another value there is seen by a night."""
    found = {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # some of the other values are of no legal profile
        for profile in variants():
            before = told(profile)
            for place, change in fields(profile):
                found[place] = found.get(place, False) or told(change()) != before
    return found


def test_every_setting_starts_a_night_or_does_not_as_it_decides_about_pairs():
    """A new setting is in neither table: say in one of them what it does."""
    expected = dict.fromkeys(STARTS_A_NIGHT.split(), True)
    expected |= dict.fromkeys(STARTS_NOTHING.split(), False)
    assert heard() == expected


def test_the_tables_have_every_section():
    def kinds(section):
        yield type(section)
        for name in type(section).model_fields:
            value = getattr(section, name)
            for one in value if isinstance(value, tuple) else [value]:
                if isinstance(one, Section):
                    yield from kinds(one)

    def below(parent):
        for child in parent.__subclasses__():
            yield child
            yield from below(child)

    seen = {kind for profile in variants() for kind in kinds(profile)}
    shared = {kind for each in seen for kind in each.__mro__}  # what others inherit from
    own = {each for each in below(Section) if each.__module__.startswith("synpref_dagster.")}
    assert own <= shared


def test_endpoints_that_are_kept_for_later_start_nothing():
    later = Profile.model_validate(BASE | {"judges": {**BASE["judges"], "kind": "exemplar"}})
    one = later.judges.endpoints[0]
    other_model = one.model_copy(update={"model": "n"})
    judges = later.judges.model_copy(update={"endpoints": (other_model,)})
    assert told(later) == told(later.model_copy(update={"judges": judges}))


def test_what_only_the_version_of_the_package_makes_differ_is_no_change():
    profile = Profile.model_validate(BASE)
    now = told(profile)
    decides_nothing = dict.fromkeys(
        (
            "evidence.num_judged",
            "evidence.thresholds.labels_improve",
            "judges.endpoints.j.max_usd",
            "reward_model.num_processes",
            "pool.pii.num_sampled",
        ),
        "0",
    )
    before = {name: each for name, each in now.items() if name != "pool.ngram_words"}  # was not yet
    assert compared(profile, {**before, **decides_nothing}) == (before, before)


def test_a_setting_that_was_changed_or_is_gone_or_new_and_set_differs():
    pool = {**BASE["pool"], "ngram_words": 8}
    profile = Profile.model_validate({**BASE, "pool": pool})
    now = told(profile)
    before = {name: each for name, each in now.items() if name != "pool.ngram_words"}
    gone = {"pool.sources.gone.licence": "0", "filtering.guard_floor": "0"}
    then, after = compared(profile, {**before, **gone})
    assert then == {**before, **gone}
    assert after == now
