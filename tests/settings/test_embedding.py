"""The embedding's part of a profile: what is refused, and which backbone is meant."""

import pytest
from pydantic import ValidationError

from synpref_dagster.cli.refusals import problems
from synpref_dagster.curation.retrieval.nearest import MAX_EXEMPLARS
from synpref_dagster.resources.campaign import Campaign
from synpref_dagster.settings.embedding import KINDS, EndpointEmbedding
from synpref_dagster.settings.judges import MOST_SHOWN
from synpref_dagster.settings.profile import Profile, load_profile

SMOKE = load_profile("smoke").model_dump()
FROZEN = {"backend": "frozen", "model_size": "qwen3-0.6b"}
ENDPOINT = {"kind": "endpoint", "base_url": "https://vectors.example.com/v1", "model": "m"}


def profile(embedding=None, **sections):
    given = {} if embedding is None else {"embedding": embedding}
    return Profile.model_validate({**SMOKE, **given, **sections})


def refusal(embedding=None, **sections):
    with pytest.raises(ValidationError) as refused:
        profile(embedding, **sections)
    [line] = problems(refused.value)
    return line.strip()


def test_the_default_is_words_and_has_no_report_of_its_own():
    assert profile().embedding.kind == "tfidf"
    assert profile().embedding.min_cosine == 0
    assert KINDS == ("tfidf", "backbone", "sentence_transformers", "endpoint")


@pytest.mark.parametrize(
    ("embedding", "line"),
    [
        ({}, "embedding: kind is missing: choose 'tfidf' or 'backbone' or"),
        ({"kind": "word2vec"}, "embedding: kind is 'word2vec': choose 'tfidf' or"),
        ({"kind": "tfidf", "min_cosine": 0.9}, "embedding: kind 'tfidf' has no setting 'min_cos"),
        ({"kind": "sentence_transformers"}, "embedding.path: Field required"),
        ({**ENDPOINT, "batch_size": 0}, "embedding.batch_size: Input should be greater"),
        ({**ENDPOINT, "base_url": "vectors"}, "embedding.base_url: "),
        (
            {"kind": "backbone"},
            "the profile: embedding.kind 'backbone' reads the frozen backbone of the stages' "
            "models, and reward_model.backend is 'stand_in': name one in embedding.model_size",
        ),
        (
            {"kind": "backbone", "model_size": "mine"},
            "the profile: embedding.model_size: 'mine' is none of the sizes qwen3-0.6b,",
        ),
    ],
)
def test_what_nobody_could_obey_is_refused_in_one_line(embedding, line):
    assert refusal(embedding).startswith(line)


def test_the_campaign_has_one_frozen_backbone_and_it_is_named_once():
    named = {"kind": "backbone", "model_size": "qwen3-4b"}
    assert profile().frozen_settings() is None
    assert profile(named).frozen_settings().model_size == "qwen3-4b"
    shared = profile({"kind": "backbone"}, reward_model=FROZEN)
    assert shared.frozen_settings() == shared.reward_model
    assert refusal(named, reward_model=FROZEN).startswith(
        "the profile: embedding.model_size is set, but the stages' models are heads on a frozen"
    )


def test_judges_on_features_need_a_frozen_backbone_and_may_be_shown_more():
    judges = {"kind": "features", "num_exemplars": 128}
    assert "no part of this profile reads one" in refusal(judges=judges)
    assert profile(judges=judges, reward_model=FROZEN).judges.num_exemplars == 128
    assert refusal(judges={"num_exemplars": 9}) == (
        "judges: num_exemplars is 9, and 'exemplar' judges are shown 8 at most (paper Sec. 3.2): "
        "lower it, or set kind to 'features'"
    )
    assert MOST_SHOWN == MAX_EXEMPLARS


def test_an_endpoint_of_vectors_is_called_like_a_judge_and_billed_apart():
    settings = EndpointEmbedding(**ENDPOINT, usd_per_million_input=0.02, max_usd=3.0)
    judge = settings.as_judge()
    assert (judge.name, judge.model, judge.max_usd) == ("embedding", "m", 3.0)
    assert (judge.usd_per_million_input, judge.usd_per_million_output) == (0.02, 0.0)
    judges = {"kind": "endpoints", "endpoints": [judge.model_dump()]}
    assert "give the judge another name" in refusal(ENDPOINT, judges=judges)


def test_texts_that_may_not_leave_are_not_sent_for_vectors():
    source = {"name": "diary", "path": "d.jsonl", "origin": "human", "may_leave": False}
    pool = {"kind": "sources", "sources": [source]}
    assert "vectors.example.com (embedding.base_url)" in refusal(ENDPOINT, pool=pool)
    here = {**ENDPOINT, "base_url": "http://127.0.0.1:8000/v1"}
    assert profile(here, pool=pool).embedding.kind == "endpoint"


def test_no_night_begins_because_there_are_other_kinds_now():
    def told(settings=None):
        return Campaign.of(profile(settings)).settings_told()

    before = {name: value for name, value in told().items() if not name.startswith("embedding")}
    then, now = Campaign.of(profile()).settings_since(before)
    assert then == now == before
    assert told(ENDPOINT) != told()
    cheaper = {**ENDPOINT, "max_usd": 2.0, "batch_size": 9, "timeout_seconds": 3.0}
    assert told(cheaper) == told(ENDPOINT)
    assert told({**ENDPOINT, "model": "n"}) != told(ENDPOINT)
