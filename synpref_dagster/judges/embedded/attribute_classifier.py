"""The embedded attribute labeller: the 5-tuple `a` of a pair (paper Sec. 3.2) without an LLM.

Three small text classifiers give the enumerated attributes; the two free-text attributes come from
a written table per category. It trains on examples whose prompts occur in no pool.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from synpref_dagster.curation.texts.tokens import TOKEN_PATTERN
from synpref_dagster.pairs.attributes import PreferenceAttributes
from synpref_dagster.pairs.record import PreferencePair, Turn

if TYPE_CHECKING:
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression

CLASSIFIED = ("task_category", "objectivity", "controversiality")
MAX_ITERATIONS = 1_000
INVERSE_REGULARISATION = 10.0
Example = tuple[Sequence[Turn], str, str, str, str, str]


@dataclass(frozen=True, slots=True)
class WrittenAttributes:
    """The free-text attributes of a category."""

    desired: str
    guideline: str


WRITTEN: Mapping[str, WrittenAttributes] = {
    "information_seeking": WrittenAttributes(
        "factual accuracy, directness",
        "Look the fact up before deciding; a confident or popular answer may still be false.",
    ),
    "coding_and_debugging": WrittenAttributes(
        "correct behaviour, readable code",
        "Run both programs on small inputs; prefer the one that does what was asked.",
    ),
    "advice_seeking": WrittenAttributes(
        "relevance to the situation, practicality",
        "Prefer the advice that fits what the person asked about over the nicer wording.",
    ),
    "math": WrittenAttributes(
        "correct result, sound steps",
        "Compute the result yourself and compare; explanation does not make up for an error.",
    ),
    "creative_writing": WrittenAttributes(
        "following the brief, imagination",
        "Check every constraint of the brief first; judge the writing only among those that pass.",
    ),
    "reasoning": WrittenAttributes(
        "valid conclusion",
        "Derive the conclusion from the premises on paper; ignore how sure a response sounds.",
    ),
    "planning": WrittenAttributes(
        "feasible order, completeness",
        "Walk through the steps in the order given; prefer the plan that could be carried out.",
    ),
    "data_analysis": WrittenAttributes(
        "correct reading of the data",
        "Read the value off the data yourself and compare it with both responses.",
    ),
    "editing": WrittenAttributes(
        "correct language, faithful to the text",
        "Check spelling in a dictionary; prefer the response that repairs exactly what was asked.",
    ),
    "role_playing": WrittenAttributes(
        "staying in character",
        "Prefer the response that speaks as the requested persona throughout.",
    ),
    "brainstorming": WrittenAttributes(
        "requested number of ideas, variety",
        "Count the ideas first; then prefer the more varied list.",
    ),
    "other": WrittenAttributes(
        "safety, helpfulness where harmless",
        "Prefer a refusal when help would do harm, and real help when it would not.",
    ),
}


@dataclass(frozen=True, slots=True)
class ClassifierAttributeLabeller:
    """Labels pairs with attributes; make one with `train`. Calling it labels pairs."""

    vectorizer: "TfidfVectorizer"
    classifiers: "Mapping[str, LogisticRegression]"

    @classmethod
    def train(cls, examples: Sequence[Example], *, seed: int = 0) -> "ClassifierAttributeLabeller":
        """Train on (conversation, chosen, rejected, category, objectivity, controversiality) rows.

        Raises:
            ValueError: the examples do not show at least two values of every attribute.
        """
        from sklearn.feature_extraction.text import TfidfVectorizer
        from sklearn.linear_model import LogisticRegression

        labels = {name: [row[3 + n] for row in examples] for n, name in enumerate(CLASSIFIED)}
        for name, values in labels.items():
            if len(set(values)) < 2:
                raise ValueError(
                    f"the {len(examples)} examples show {len(set(values))} value of {name}; "
                    "a classifier needs at least two"
                )
        vectorizer = TfidfVectorizer(
            ngram_range=(1, 2), token_pattern=TOKEN_PATTERN, sublinear_tf=True
        )
        features = vectorizer.fit_transform([_text(row[0], row[1], row[2]) for row in examples])
        classifiers = {
            name: LogisticRegression(
                C=INVERSE_REGULARISATION, max_iter=MAX_ITERATIONS, random_state=seed
            ).fit(features, values)
            for name, values in labels.items()
        }
        return cls(vectorizer=vectorizer, classifiers=classifiers)

    def __call__(self, pairs: Sequence[PreferencePair]) -> list[PreferenceAttributes]:
        """One 5-tuple per pair, in order."""
        return self.label(pairs)[0]

    def label(
        self, pairs: Sequence[PreferencePair]
    ) -> tuple[list[PreferenceAttributes], np.ndarray]:
        """Attributes and float32 (pairs,) confidence: the least sure of the three classifiers."""
        if not pairs:
            return [], np.zeros(0, dtype=np.float32)
        texts = [_text(pair.conversation, pair.chosen, pair.rejected) for pair in pairs]
        features = self.vectorizer.transform(texts)
        confidence = np.ones(len(pairs), dtype=np.float32)
        columns = {}
        for name, classifier in self.classifiers.items():
            probabilities = classifier.predict_proba(features)
            columns[name] = classifier.classes_[probabilities.argmax(axis=1)]
            confidence = np.minimum(confidence, probabilities.max(axis=1).astype(np.float32))
        rows = zip(*(columns[name] for name in CLASSIFIED), strict=True)
        return [_attributes(*(str(value) for value in row)) for row in rows], confidence


def _attributes(category: str, objectivity: str, controversiality: str) -> PreferenceAttributes:
    written = WRITTEN[category]
    return PreferenceAttributes(
        task_category=category,
        objectivity=objectivity,  # type: ignore[arg-type]  # checked by the dataclass
        controversiality=controversiality,  # type: ignore[arg-type]
        desired_attributes=written.desired,
        annotation_guideline=written.guideline,
    )


def _text(conversation: Sequence[Turn], chosen: str, rejected: str) -> str:
    """Conversation and both responses, sorted, so that the current label cannot matter."""
    turns = [turn["content"] for turn in conversation]
    return "\n".join([*turns, *sorted((chosen, rejected))])
