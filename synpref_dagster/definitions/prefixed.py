"""Assets and checks with the keys of a campaign that shares its instance with others."""

import warnings
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
    new = each.with_attributes(asset_key_replacements={key: _new(key, prefix) for key in about})
    return _as_checks(new) if isinstance(each, dg.AssetChecksDefinition) else new


def _as_checks(checks: dg.AssetsDefinition) -> dg.AssetChecksDefinition:
    """What Dagster makes of it later, with a warning about arguments of its own."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", dg.BetaWarning)
        return dg.AssetChecksDefinition(**checks.get_attributes_dict())


def _new(key: dg.AssetKey, prefix: str) -> dg.AssetKey:
    return key_of(key.to_user_string(), prefix)
