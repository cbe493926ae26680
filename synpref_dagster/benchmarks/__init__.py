"""The seven reward-model benchmarks (Section 4.2) as protocols over a score table.

Nothing here ever sees a model: a caller scores the distinct candidates once, `items.spread_scores`
makes the table, and every figure is a pure function of that and the benchmark's items.
"""
