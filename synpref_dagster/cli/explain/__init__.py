"""The pairs of a campaign: `synpref pairs` lists them, `synpref explain` tells one's story.

A story is every event of its history, in order and in words. What does not belong here: any
decision about a pair, because list and history only join what the assets published. The rules stand
in `curation/`; reason codes get their wording in `words`, and only there.
"""
