"""What a word is for the TF-IDF of the embedder, of the embedded judges and of the classifier."""

# The linear reward model (`reward/linear/`) has words and weights of its own: its token pattern is
# scikit-learn's, and it divides by the norm where the embedder multiplies by 1 / norm. Vectors and
# models that are kept must stay equal to the bit, so the two are not one function.
TOKEN_PATTERN = r"(?u)\b\w+\b"  # single letters and digits count, unlike scikit-learn's default
