"""Comparing many texts at once: n-grams as hashes, the n-gram index, MinHash signatures.

`tokens` says what a word is where texts are weighted by TF-IDF.

What does not belong here: what a match means for a pair: `curation/contamination/` and
`curation/pool/` say that. The texts of a shard are fetched by `pairs/texts.py`.
"""
