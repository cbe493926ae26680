"""Commands that need no campaign: `synpref score`, `benchmark` and `sizes`.

What does not belong here: what a tool does, which is in `synpref_dagster/tools/` (of `sizes`:
`reward/prediction/`); how a terminal asks for it and is told.
"""
