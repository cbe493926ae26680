"""The public preference sets people mix: where each is, who labelled it, how it becomes pairs.

docs/sources.md is this table. Licences are those named on the data cards; read them before use.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

Labels = Literal["human", "synthetic", "mixed"]


@dataclass(frozen=True, kw_only=True, slots=True)
class PublicSet:
    """One row of the table."""

    title: str
    """Name people know it by."""
    hub_id: str
    """Data set id on the Hugging Face hub, or the repository of a set that is not there."""
    licence: str
    """As on the data card; "none named" where it names none."""
    labels: Labels
    """Who preferred: people, a model or rule, or both depending on the row."""
    format: str
    """Row format that reads it, as auto-detected."""
    pairs: str
    """How ties, ratings, ranks and votes become pairs."""
    hub_options: Mapping[str, str] = field(default_factory=dict)
    """Options without which the hub gives other rows, or none."""


_TIE = "tie: no pair"
_EVERY_TWO = "every two with different scores; " + _TIE

PUBLIC_SETS: tuple[PublicSet, ...] = (
    PublicSet(
        title="Skywork-Reward-Preference-80K",
        hub_id="Skywork/Skywork-Reward-Preference-80K-v0.2",
        licence="none named of its own; those of its sources",
        labels="mixed",
        format="implicit_conversational",
        pairs="as labelled",
    ),
    PublicSet(
        title="HelpSteer2, preferences",
        hub_id="nvidia/HelpSteer2",
        licence="CC-BY-4.0",
        labels="human",
        format="helpsteer_preference",
        pairs="sign of preference_strength; 0 is a tie: no pair; single preferences as verdicts",
        hub_options={"data_dir": "preference"},
    ),
    PublicSet(
        title="HelpSteer2, ratings",
        hub_id="nvidia/HelpSteer2",
        licence="CC-BY-4.0",
        labels="human",
        format="helpsteer_ratings",
        pairs="neighbouring rows of one prompt by helpfulness; " + _TIE,
    ),
    PublicSet(
        title="HelpSteer3, preferences",
        hub_id="nvidia/HelpSteer3",
        licence="CC-BY-4.0",
        labels="human",
        format="helpsteer_preference",
        pairs="sign of overall_preference; 0 is a tie: no pair; single preferences as verdicts",
        hub_options={"config_name": "preference"},
    ),
    PublicSet(
        title="UltraFeedback, ratings",
        hub_id="openbmb/UltraFeedback",
        licence="MIT",
        labels="synthetic",
        format="ultrafeedback_ratings",
        pairs=f"{_EVERY_TWO}; option rating",
    ),
    PublicSet(
        title="UltraFeedback, binarized",
        hub_id="HuggingFaceH4/ultrafeedback_binarized",
        licence="MIT",
        labels="synthetic",
        format="scored_messages",
        pairs="as labelled where the scores agree; equal scores are a tie: no pair",
        hub_options={"split": "train_prefs"},
    ),
    PublicSet(
        title="UltraFeedback, cleaned",
        hub_id="argilla/ultrafeedback-binarized-preferences-cleaned",
        licence="MIT",
        labels="synthetic",
        format="scored_messages",
        pairs="as labelled where the ratings agree; equal ratings are a tie: no pair",
    ),
    PublicSet(
        title="Nectar",
        hub_id="berkeley-nest/Nectar",
        licence="Apache-2.0, on terms: not to compete with OpenAI",
        labels="synthetic",
        format="nectar_ranks",
        pairs="every two of up to seven ranks; equal ranks are a tie: no pair",
    ),
    PublicSet(
        title="PKU-SafeRLHF",
        hub_id="PKU-Alignment/PKU-SafeRLHF",
        licence="CC-BY-NC-4.0",
        labels="human",
        format="pku_saferlhf",
        pairs="better_response_id; option label: safer, or both, where disagreement is a tie",
    ),
    PublicSet(
        title="HH-RLHF",
        hub_id="Anthropic/hh-rlhf",
        licence="MIT",
        labels="human",
        format="hh_transcripts",
        pairs="as labelled",
    ),
    PublicSet(
        title="SHP",
        hub_id="stanfordnlp/SHP",
        licence="none named; terms of the Reddit API",
        labels="human",
        format="shp",
        pairs="more votes wins, label and scores must agree; option min_score_ratio; " + _TIE,
    ),
    PublicSet(
        title="WebGPT comparisons",
        hub_id="openai/webgpt_comparisons",
        licence="none named",
        labels="human",
        format="webgpt",
        pairs="higher score wins; equal scores are a tie: no pair",
    ),
    PublicSet(
        title="Chatbot-Arena conversations",
        hub_id="lmsys/chatbot_arena_conversations",
        licence="CC-BY-4.0 (prompts), CC-BY-NC-4.0 (outputs), gated",
        labels="human",
        format="arena_conversations",
        pairs="winner; tie and tie (bothbad): no pair; turns before the last must be shared",
    ),
    PublicSet(
        title="Arena human preference 55k",
        hub_id="lmarena-ai/arena-human-preference-55k",
        licence="Apache-2.0",
        labels="human",
        format="arena_lists",
        pairs="winner_model_a or winner_model_b; winner_tie: no pair; turns as above",
    ),
    PublicSet(
        title="OpenAssistant trees",
        hub_id="OpenAssistant/oasst2",
        licence="Apache-2.0",
        labels="human",
        format="oasst_messages",
        pairs="every two ranked replies to one message; tie: no pair; tree files as oasst_trees",
    ),
    PublicSet(
        title="Magpie DPO (Air)",
        hub_id="Magpie-Align/Magpie-Air-DPO-100K-v0.1",
        licence="none named; Llama 3 Community Licence on its sister sets",
        labels="synthetic",
        format="implicit_conversational",
        pairs="as labelled",
    ),
    PublicSet(
        title="Magpie DPO (Llama 3.1 Pro)",
        hub_id="Magpie-Align/Magpie-Llama-3.1-Pro-DPO-100K-v0.1",
        licence="Llama 3.1 Community Licence",
        labels="synthetic",
        format="implicit_conversational",
        pairs="as labelled",
    ),
    PublicSet(
        title="OffsetBias",
        hub_id="NCSOFT/offsetbias",
        licence="BSD-3-Clause",
        labels="synthetic",
        format="offsetbias",
        pairs="label 1 or 2",
    ),
    PublicSet(
        title="WildGuardMix",
        hub_id="allenai/wildguardmix",
        licence="ODC-BY, gated",
        labels="synthetic",
        format="wildguardmix",
        pairs="harmful prompt: harmless response wins; else an answer beats a refusal; " + _TIE,
        hub_options={"config_name": "wildguardtrain"},
    ),
    PublicSet(
        title="PandaLM test set",
        hub_id="github.com/WeOpenML/PandaLM",
        licence="Apache-2.0",
        labels="human",
        format="pandalm",
        pairs="majority of three people; no majority, or one for the tie: no pair; verdicts kept",
    ),
    PublicSet(
        title="Tulu 3 preference mix",
        hub_id="allenai/llama-3.1-tulu-3-8b-preference-mixture",
        licence="ODC-BY, parts non-commercial",
        labels="synthetic",
        format="implicit_conversational",
        pairs="as labelled; with rating columns (405B) as scored_messages",
    ),
    PublicSet(
        title="OLMo 2 preference mix",
        hub_id="allenai/olmo-2-1124-7b-preference-mix",
        licence="ODC-BY, parts non-commercial",
        labels="synthetic",
        format="scored_messages",
        pairs="as labelled where the ratings agree or there are none; equal ratings: no pair",
    ),
)


def public_sets_table() -> str:
    """The table as Markdown, one row per set."""
    pairs = "how ties and ratings become pairs"
    head = ("set", "hub id", "hub options", "licence", "labels", "format", pairs)
    rule = tuple("---" for _ in head)
    return (
        "\n".join(f"| {' | '.join(row)} |" for row in (head, rule, *map(_cells, PUBLIC_SETS)))
        + "\n"
    )


def _cells(one: PublicSet) -> tuple[str, ...]:
    options = ", ".join(f'`{name} = "{value}"`' for name, value in one.hub_options.items())
    hub_id, row_format = f"`{one.hub_id}`", f"`{one.format}`"
    return (one.title, hub_id, options, one.licence, one.labels, row_format, one.pairs)
