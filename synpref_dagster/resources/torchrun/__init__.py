"""Training in several processes: `torchrun` started through Dagster Pipes, and its worker.

What does not belong here: the training itself and the job file, which are in `reward/training/`
and run without Dagster too. Which backend a model trains with is chosen in
`resources/models.py`.
"""
