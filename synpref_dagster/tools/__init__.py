"""Tools that need no campaign: one function each, which the command of the same name calls.

`scoring` gives rewards to a file of pairs or responses; `benchmarking` measures reward models on
benchmarks, which `suites` finds and `table` prints; `models` says what can be scored with, `rows`
reads files, `running` maps the scoring, `cached` keeps rewards by what was scored.
`on_pairs/` trains on pairs, has them judged and converts them.

What does not belong here: any rule or reader of its own. A tool calls what the assets call, on
files that somebody names in place of those of a campaign; how a terminal asks is in `cli/tools/`.
"""
