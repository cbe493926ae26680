"""Views of the embedded judges: fitted once, read afterwards, and the same to the last bit."""

import numpy as np
import pytest
from sklearn.feature_extraction.text import TfidfVectorizer

from synpref_dagster.curation.texts.tokens import TOKEN_PATTERN
from synpref_dagster.judges.embedded.views import PAIRS, SIZES, fit_views, kept_views
from synpref_dagster.pairs.record import PreferencePair
from synpref_dagster.pairs.texts import pool_texts
from synpref_dagster.storage.damage import CHECKSUMS

TEXTS = ["a bee finds a way", "the bee and the way home", "Ünïcode 中文 x\ny", ""]


@pytest.mark.parametrize("normed", [True, False])
@pytest.mark.parametrize("ngrams", SIZES)
def test_a_view_weighs_words_as_a_vectorizer_fitted_on_the_texts(tmp_path, ngrams, normed):
    fitted = TfidfVectorizer(
        ngram_range=ngrams, token_pattern=TOKEN_PATTERN, norm="l2" if normed else None
    ).fit(TEXTS)
    views = kept_views(tmp_path, lambda: TEXTS)
    asked = [*TEXTS, "the bee is unknown here"]
    found = views[ngrams].vectorizer(normed=normed).transform(asked)
    assert (found != fitted.transform(asked)).nnz == 0


def test_views_are_fitted_once(tmp_path):
    first = kept_views(tmp_path, lambda: TEXTS)

    def never():
        raise AssertionError("fitted again")

    again = kept_views(tmp_path, never)
    assert [view.terms for view in again.values()] == [view.terms for view in first.values()]


def test_half_kept_views_are_fitted_again(tmp_path):
    kept_views(tmp_path, lambda: TEXTS)
    (tmp_path / "views.json").unlink()
    views = kept_views(tmp_path, lambda: ["one two"])
    assert views[PAIRS].terms == ["one two"]
    np.testing.assert_array_equal(views[PAIRS].idf, [1.0])


def test_views_of_another_format_are_refused(tmp_path):
    kept_views(tmp_path, lambda: TEXTS)
    (tmp_path / "views.json").write_text("{}")
    (tmp_path / CHECKSUMS).unlink()  # As an earlier version left it.
    with pytest.raises(ValueError, match="delete it"):
        kept_views(tmp_path, lambda: TEXTS)


def test_damaged_views_are_fitted_again(tmp_path):
    before = kept_views(tmp_path, lambda: TEXTS)
    words = next(tmp_path.glob("*.txt"))
    words.write_bytes(words.read_bytes().replace(b"o", b"p"))
    after = kept_views(tmp_path, lambda: TEXTS)
    assert [view.terms for view in after.values()] == [view.terms for view in before.values()]


def test_there_is_no_view_without_a_text():
    with pytest.raises(ValueError, match="empty"):
        fit_views([])


def test_each_text_of_a_pool_counts_once():
    turn = {"role": "user", "content": "q"}
    pairs = [
        PreferencePair(
            conversation=(turn,), chosen=chosen, rejected="no", source="s", origin="human"
        )
        for chosen in ("yes", "maybe")
    ]
    assert pool_texts(pairs) == ["q", "yes", "no", "maybe"]
