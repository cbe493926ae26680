"""The one partitioned dimension: the model size, straight from the backbone table.

What does not belong here: hyper-parameters. They are looked up by partition key in the backbone
table, so that a backfill of one size needs no run config.
"""

import dagster as dg

from synpref_dagster.reward.backbones import MODEL_SIZES

model_sizes = dg.StaticPartitionsDefinition(list(MODEL_SIZES))
