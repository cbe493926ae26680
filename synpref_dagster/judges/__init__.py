"""LLM judges as a service: requests, calls, reply cache, budget, and their work per shard.

What does not belong here: what judges are asked and what their replies mean (prompts, verdicts,
votes), which is in `curation/judging/`. The Dagster resource that opens the panel is
`resources/judges.py`.
"""
