"""`synpref upgrade`: what an older version left is brought to this one, or it is said what is lost.

`changes` what a change is, and how files are copied before; `profiles` settings that are refused
now; `databases` Dagster's instance, MLflow, the ledger, the judges' replies; `results` what the
store holds of older rules; `command` asks all of them and does what they say.

What does not belong here: how today's files are made, which lives beside those who use them
(`cli/instance.py`, `resources/tracking/database.py`, `people/ledger/database.py`,
`judges/cache.py`).
"""
