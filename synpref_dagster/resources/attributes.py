"""Attribute labelling at the edge, as a Dagster resource.

The default attribute labeller is a small classifier trained on the synthetic world's categories, on
prompts that no pool contains; it is not an LLM, and reports say so. When the profile's judges are
LLM endpoints, they label attributes too.
"""

from collections.abc import Sequence
from dataclasses import asdict
from functools import cached_property
from typing import Any

import dagster as dg
import numpy as np
import pandas as pd

from synpref_dagster.judges.embedded.attribute_classifier import (
    CLASSIFIED,
    ClassifierAttributeLabeller,
)
from synpref_dagster.pairs.accuracy import accuracy_of
from synpref_dagster.pairs.attributes import ATTRIBUTE_COLUMNS, PreferenceAttributes
from synpref_dagster.pairs.record import PreferencePair
from synpref_dagster.resources.judges import JudgePanel
from synpref_dagster.synthetic.world import CategoryExample, category_examples

TRAINING_SEED = 20_250_707  # never a campaign's seed: the labeller knows no pool
NUM_TRAINING_EXAMPLES = 1_500
NUM_MEASURED = 1_000
ATTRIBUTE_ASSET = "attribute_labels"  # on whose account LLM judges label attributes


class AttributeLabelling(dg.ConfigurableResource):
    """Labels pairs with the five preference attributes."""

    judges: JudgePanel
    num_training_examples: int = NUM_TRAINING_EXAMPLES

    @cached_property
    def _labeller(self) -> ClassifierAttributeLabeller:
        return ClassifierAttributeLabeller.train(self._training_examples())

    def _training_examples(self) -> list[CategoryExample]:
        return category_examples(TRAINING_SEED, self.num_training_examples)

    def params(self) -> dict[str, Any]:
        """What the labels depend on besides the pairs."""
        if self.judges.uses_endpoints:
            return self.judges.attribute_params()
        return {"labeller": "classifier", "num_training_examples": self.num_training_examples}

    def measured(self) -> pd.DataFrame:
        """How often the built-in classifier is right: attribute, value, low, high, n.

        Measured on prompts of the synthetic world that it was not trained on: on other data nobody
        has measured it.
        """
        known = {_prompt(example) for example in self._training_examples()}
        examples = category_examples(TRAINING_SEED + 1, NUM_MEASURED)
        unseen = [example for example in examples if _prompt(example) not in known]
        labelled, _ = self._labeller.label([_as_pair(example) for example in unseen])
        rows = []
        for place, name in enumerate(CLASSIFIED, start=len(CLASSIFIED)):
            pairs = zip(labelled, unseen, strict=True)
            right = [getattr(each, name) == example[place] for each, example in pairs]
            rows.append({"attribute": name, **asdict(accuracy_of(np.array(right, dtype=bool)))})
        return pd.DataFrame(rows)

    def label_frame(self, pairs: Sequence[PreferencePair]) -> pd.DataFrame:
        """pair_id, the five attributes and the labeller's confidence, one row per pair.

        Raises:
            JudgeError: LLM judges cannot be asked any further.
        """
        attributes, confidence = self._label(pairs, ATTRIBUTE_ASSET)
        frame = pd.DataFrame(
            [each.as_text_fields() for each in attributes], columns=list(ATTRIBUTE_COLUMNS)
        )
        frame.insert(0, "pair_id", pd.Series([pair.pair_id for pair in pairs], dtype=object))
        return frame.assign(confidence=np.asarray(confidence, dtype=np.float32))

    def label(self, pairs: Sequence[PreferencePair], *, account: str) -> list[dict[str, str]]:
        """The attributes of pairs that have none yet, as text fields, in order.

        Args:
            pairs: pairs from outside the unverified pool.
            account: on whose account LLM judges are asked.
        """
        return [each.as_text_fields() for each in self._label(pairs, account)[0]]

    def _label(
        self, pairs: Sequence[PreferencePair], account: str
    ) -> tuple[list[PreferenceAttributes], np.ndarray]:
        if self.judges.uses_endpoints:
            return self.judges.attribute_labeller(account).label(pairs)
        return self._labeller.label(pairs)


def _prompt(example: CategoryExample) -> str:
    return "\n".join(turn["content"] for turn in example[0])


def _as_pair(example: CategoryExample) -> PreferencePair:
    conversation, chosen, rejected = example[:3]
    return PreferencePair(
        conversation=tuple(conversation),
        chosen=chosen,
        rejected=rejected,
        source="attributes",
        origin="synthetic",
    )
