"""Cards and companion files of a release, written from facts: nobody types a number into them.

The usage snippet on the model card is code that the tests execute in the folder it came with.
"""

from collections.abc import Mapping
from typing import Any

Facts = Mapping[str, Any]

TIERS = {
    "gold": "labels of people",
    "silver": "labels of judges that saw human-verified exemplars",
    "curated": "source labels that the gold reward model and a second witness confirm",
    "recycled": "source labels that every witness contradicts, reversed",
}

MODEL_USAGE = """import torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer

model_id = "."  # this folder, or its id on the hub
tokenizer = AutoTokenizer.from_pretrained(model_id)
model = AutoModelForSequenceClassification.from_pretrained(model_id, dtype=torch.float32).eval()

conversation = [{"role": "user", "content": "Name a fruit."}]
responses = ["An apple is a fruit.", "I will not answer that."]
texts = [
    tokenizer.apply_chat_template(
        [*conversation, {"role": "assistant", "content": response}], tokenize=False
    )
    for response in responses
]
# The template writes every special token there is: let the tokenizer add none.
inputs = tokenizer(texts, add_special_tokens=False, padding=True, return_tensors="pt")
with torch.inference_mode():
    rewards = model(**inputs).logits[:, 0].tolist()
print([round(reward, 4) for reward in rewards])"""


OWN_USAGE = """from synpref_dagster.reward.scoring import load_reward_model

model = load_reward_model(".")  # this folder
conversation = [{"role": "user", "content": "Name a fruit."}]
responses = ["An apple is a fruit.", "I will not answer that."]
rewards = model.rewards([conversation] * 2, responses).tolist()
print([round(reward, 4) for reward in rewards])"""


def render_model_card(facts: Facts) -> str:
    """README.md of a released model."""
    usage = OWN_USAGE if facts["needs_this_package"] else MODEL_USAGE
    return _render("model_card.md.jinja", {**facts, "usage": usage})


def render_trained_card(facts: Facts) -> str:
    """README.md of a model that was trained by itself."""
    usage = OWN_USAGE if facts["needs_this_package"] else MODEL_USAGE
    return _render("trained_card.md.jinja", {**facts, "usage": usage})


def render_data_card(facts: Facts) -> str:
    """README.md of the curated data."""
    return _render("data_card.md.jinja", facts)


def tier_rows(counts: Mapping[str, int]) -> list[dict[str, Any]]:
    """The parts of the curated set in their order of rank, with what each is."""
    return [
        {"name": name, "num_pairs": int(counts.get(name, 0)), "about": about}
        for name, about in TIERS.items()
    ]


def _render(template: str, facts: Facts) -> str:
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(  # Markdown, not HTML: nothing is escaped
        loader=PackageLoader("synpref_dagster.publishing.release", "."),
        undefined=StrictUndefined,
        autoescape=False,
        keep_trailing_newline=True,
    )
    return environment.get_template(template).render(facts)
