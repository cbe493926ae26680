"""The one partitioned dimension: the model size, straight from the profile's backbones.

What does not belong here: hyper-parameters. They are looked up by partition key among the
backbones, so that a backfill of one size needs no run config.
"""

import dagster as dg

from synpref_dagster.settings.profile import Profile


def model_sizes(profile: Profile) -> dg.StaticPartitionsDefinition:
    """The sizes of a profile: its own backbones, else the eight of the paper."""
    return dg.StaticPartitionsDefinition(list(profile.sizes()))
