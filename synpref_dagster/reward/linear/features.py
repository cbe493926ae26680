"""Features of a response for the linear reward model: hashed n-grams and a few counted by hand.

A pure function of the texts: the same text gives the same row in any batch. Hash buckets come from
scikit-learn's murmur hash, which is the same in every process.
"""

import re
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from scipy import sparse
from sklearn.feature_extraction.text import HashingVectorizer

FloatMatrix = npt.NDArray[np.float64]

HAND_FEATURES = (
    "num_characters",
    "log_num_characters",
    "num_words",
    "log_num_words",
    "num_sentences",
    "words_per_sentence",
    "characters_per_word",
    "num_commas",
    "num_question_marks",
    "num_exclamation_marks",
    "num_digits",
    "num_urls",
    "num_quotes",
    "num_newlines",
    "capital_share",
    "num_connectives",
    "type_token_ratio",
)
CONNECTIVES = re.compile(
    r"\b(because|therefore|thus|hence|since|however|although|while|whereas|but|if|then|for example"
    r"|for instance|moreover|furthermore|also|first|second|finally|so)\b",
    re.IGNORECASE,
)
WORD = re.compile(r"\w+")
SENTENCE_END = re.compile(r"[.!?]+(?:\s|$)")
URL = re.compile(r"https?://|www\.")


def hashed_words(texts: Sequence[str], *, num_buckets: int) -> sparse.csr_matrix:
    """Counts of word unigrams and bigrams in (n, num_buckets) buckets, before any weighting."""
    vectorizer = HashingVectorizer(
        n_features=num_buckets, ngram_range=(1, 2), alternate_sign=False, norm=None
    )
    return sparse.csr_matrix(vectorizer.transform(texts))


def hand_features(texts: Sequence[str]) -> FloatMatrix:
    """The counts of `HAND_FEATURES`, (n, 17) float64, not scaled."""
    if not texts:
        return np.zeros((0, len(HAND_FEATURES)))
    return np.array([_hand_row(text) for text in texts], dtype=np.float64)


def _hand_row(text: str) -> list[float]:
    words = WORD.findall(text)
    num_characters, num_words = len(text), len(words)
    num_sentences = max(len(SENTENCE_END.findall(text)), 1)
    letters = sum(map(str.isalpha, text))
    return [
        num_characters,
        np.log1p(num_characters),
        num_words,
        np.log1p(num_words),
        num_sentences,
        num_words / num_sentences,
        sum(map(len, words)) / max(num_words, 1),
        text.count(","),
        text.count("?"),
        text.count("!"),
        sum(map(str.isdigit, text)),
        len(URL.findall(text)),
        text.count('"'),
        text.count("\n"),
        sum(map(str.isupper, text)) / max(letters, 1),
        len(CONNECTIVES.findall(text)),
        len({word.lower() for word in words}) / max(num_words, 1),
    ]
