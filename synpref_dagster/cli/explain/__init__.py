"""One pair's story, `synpref explain`: every event of its history, in order and in words.

What does not belong here: any decision about a pair, because a history only joins what the
assets published. The rules stand in `curation/`; reason codes get their wording in `words`, and
only there.
"""
