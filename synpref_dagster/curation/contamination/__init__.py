"""Box 1, decontamination: what pairs share with benchmarks, strict pass (Appendix D.1).

What does not belong here: n-grams and their index (`curation/texts/`), which other rules use
too, the benchmarks themselves (`benchmarks/`), and the reason that drops a pair
(`curation/pool/screening.py`).
"""
