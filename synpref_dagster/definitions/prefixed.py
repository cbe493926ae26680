"""Assets and checks with the keys of a campaign that shares its instance with others."""

from collections.abc import Iterable
from typing import Any

import dagster as dg

from synpref_dagster.resources.campaign import key_of


def with_prefix(definitions: Iterable[Any], prefix: str) -> list[Any]:
    """The same assets and checks under prefixed keys; steps and files keep their names.

    Args:
        definitions: assets, external assets and asset checks of the same campaign.
        prefix: the profile's `key_prefix`; "" changes nothing.
    """
    return [_prefixed(each, prefix) if prefix else each for each in definitions]


def _prefixed(each: dg.AssetsDefinition | dg.AssetSpec, prefix: str) -> Any:
    if isinstance(each, dg.AssetSpec):
        deps = [dep._replace(asset_key=_new(dep.asset_key, prefix)) for dep in each.deps]
        return each.replace_attributes(key=_new(each.key, prefix), deps=deps)
    # A definition of checks alone has inputs and no assets, an external asset the other way round.
    about = {*each.keys, *each.dependency_keys, *each.node_keys_by_input_name.values()}
    about |= {key.asset_key for key in each.check_keys}
    return each.with_attributes(asset_key_replacements={key: _new(key, prefix) for key in about})


def _new(key: dg.AssetKey, prefix: str) -> dg.AssetKey:
    return key_of(key.to_user_string(), prefix)
