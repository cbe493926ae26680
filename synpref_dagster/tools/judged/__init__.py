"""`judge`: a panel over the pairs of a file. `panel` says who is asked, `judging` asks and tells.

What does not belong here: judges, prompts and votes (in `judges/` and `curation/judging/`); here
they are only put before a file that somebody names.
"""
