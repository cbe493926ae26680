"""Tools on the pairs of a file that are in memory, or pass through it a batch at a time.

`training` makes a reward model of them, `judging` asks the judges about them that `panel` opens,
`converting` writes them for other trainers, `deciding` keeps, flips or discards them for the assets
of `definitions/builders/`; `given` reads pairs and settings.

What does not belong here: engine, judges, rules and layouts (in `reward/`, `judges/`, `curation/`
and `publishing/`); here they are put before a file that somebody names.
"""
