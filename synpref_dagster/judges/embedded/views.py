"""Word weights of the embedded judges, fitted once and kept: a view is a vocabulary with its idf.

Every asset that asks the judges needs them, and fitting costs more than asking: what one asset
fitted, the others read.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from synpref_dagster.curation.texts.tokens import TOKEN_PATTERN
from synpref_dagster.storage.damage import made_whole
from synpref_dagster.storage.uris import write_bytes

if TYPE_CHECKING:
    from sklearn.feature_extraction.text import TfidfVectorizer

WORDS, WORDS_AND_PAIRS, PAIRS = (1, 1), (1, 2), (2, 2)
SIZES = (WORDS, WORDS_AND_PAIRS, PAIRS)
DESCRIPTION = "views.json"
FORMAT = {"kind": "judge_views", "version": 1}


@dataclass(frozen=True, slots=True)
class View:
    """Word features of one size, weighted by how rare they are."""

    ngrams: tuple[int, int]
    terms: Sequence[str]
    """The vocabulary, in the order of the weights."""
    idf: np.ndarray
    """float64 (terms,)."""

    def vectorizer(self, *, normed: bool) -> "TfidfVectorizer":
        """Turns texts into rows of this view, of length 1 where `normed`."""
        from sklearn.feature_extraction.text import TfidfVectorizer

        vectorizer = TfidfVectorizer(
            ngram_range=self.ngrams, token_pattern=TOKEN_PATTERN, norm="l2" if normed else None
        )
        vectorizer.vocabulary_ = {term: place for place, term in enumerate(self.terms)}
        vectorizer.idf_ = self.idf
        return vectorizer


Views = Mapping[tuple[int, int], View]


def fit_views(texts: Sequence[str]) -> Views:
    """The views of the embedded judges on texts; no label is seen.

    Raises:
        ValueError: `texts` is empty.
    """
    if not texts:
        raise ValueError("texts is empty; a judge's view needs at least one text to fit")
    return {ngrams: _fit(texts, ngrams) for ngrams in SIZES}


def kept_views(folder: Path, texts: Callable[[], Sequence[str]]) -> Views:
    """The views kept in a folder, fitted on `texts()` and kept there when there are none."""
    is_made = (folder / DESCRIPTION).exists()
    made_whole(folder, is_made=is_made, make=lambda: _save(fit_views(texts()), folder))
    return _load(folder)


def _fit(texts: Sequence[str], ngrams: tuple[int, int]) -> View:
    from sklearn.feature_extraction.text import TfidfVectorizer

    vectorizer = TfidfVectorizer(ngram_range=ngrams, token_pattern=TOKEN_PATTERN).fit(texts)
    return View(ngrams, vectorizer.get_feature_names_out().tolist(), vectorizer.idf_)


def _save(views: Views, folder: Path) -> None:
    # Two assets may fit the same views at the same time: neither reads half of what the other puts.
    for ngrams, view in views.items():
        # No term holds a line break: terms are words, joined by single spaces.
        write_bytes(folder / f"{_name(ngrams)}.txt", "\n".join(view.terms).encode())
        weights = BytesIO()
        np.save(weights, view.idf, allow_pickle=False)
        write_bytes(folder / f"{_name(ngrams)}.npy", weights.getvalue())
    # Last: it says that the rest is there.
    write_bytes(folder / DESCRIPTION, json.dumps(FORMAT).encode())


def _load(folder: Path) -> Views:
    found = json.loads((folder / DESCRIPTION).read_text(encoding="utf-8"))
    if found != FORMAT:
        raise ValueError(f"{folder} holds {found}, not {FORMAT}: delete it, and it is fitted again")
    return {
        ngrams: View(
            ngrams,
            (folder / f"{_name(ngrams)}.txt").read_text(encoding="utf-8").split("\n"),
            np.load(folder / f"{_name(ngrams)}.npy", allow_pickle=False),
        )
        for ngrams in SIZES
    }


def _name(ngrams: tuple[int, int]) -> str:
    return "words_{}_{}".format(*ngrams)
