"""Files of pairs made better: `clean`, `dedup`, `decontaminate`, and `decide`, which filters.

`given` takes what people have, a file or something in memory; `reading` makes a raw pool of it;
`against` finds the texts that must not be in it; `cleaning` runs box 1 over it and writes what is
kept and what is not; `deciding` is the consistency filter over a table of rewards.

What does not belong here: a rule of its own. Pairs are screened, compared and selected by
`curation/pool/`, decided by `curation/filtering/`, as those of a campaign are.
"""
