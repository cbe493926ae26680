"""Miniatures of the seven benchmarks and the quiz they are made of (Section 4.2).

What does not belong here: how a benchmark is read or measured (`benchmarks/`), and the world
that the questions come from, which stands one folder up.
"""
