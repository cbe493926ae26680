"""What is said before a run: `synpref check`, and `synpref sizes`.

What does not belong here: what is found and worked out (`preview/`, `judges/forecast.py`,
`reward/prediction/`), and what ends a run before it begins (`cli/refusals.py`).
"""
