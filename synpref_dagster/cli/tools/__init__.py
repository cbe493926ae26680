"""Commands that need no campaign: `synpref score`, `benchmark` and `train`.

What does not belong here: what a tool does, which is in `synpref_dagster/tools/`;
how a terminal asks for it and is told.
"""
