"""What a model will take before it is trained: parameters, memory, operations, hours.

What does not belong here: training and scoring themselves (`reward/training/`, `reward/scoring.py`),
measurements (`bench/`), and how a prediction is printed (`cli/sizes.py`). Importing this loads no torch.
"""
