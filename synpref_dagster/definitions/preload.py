"""What the steps of a run in processes inherit: imported once per run by the server they fork from.

Not MLflow, which loads polars where that is installed: its threads do not survive a fork.
"""

import gc

import jinja2
import matplotlib.backends.backend_agg
import matplotlib.figure
import PIL.Image
import sklearn.feature_extraction.text
import sklearn.linear_model

import synpref_dagster.definitions.build
import synpref_dagster.people.campaign
import synpref_dagster.reward.scoring
import synpref_dagster.reward.stand_ins
import synpref_dagster.reward.training.run

# A collection in a step would otherwise visit, and so copy, every page that it shares with others.
gc.freeze()
