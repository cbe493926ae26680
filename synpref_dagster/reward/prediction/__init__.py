"""What a model will take before it is trained: parameters, memory, operations, hours.

What does not belong here: training and scoring themselves (`reward/training/`, `scoring.py` beside
it), measurements (`bench/`), and how a prediction is printed (`cli/tools/sizes.py`). Known shapes
and their costs are arithmetic: they load no torch.
"""
