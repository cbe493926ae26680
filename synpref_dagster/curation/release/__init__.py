"""Box 6: which pairs train a model or are released, under which label (Section 4.1).

What does not belong here: files, cards and licences (`publishing/release/`), training
(`reward/training/`), and keeping or flipping a pair (`curation/filtering/`).
"""
