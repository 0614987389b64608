"""Checkpoint, normalisation, network, chunk, aggregation, action."""

from typing import TYPE_CHECKING

from act_ros.policy.aggregation import TemporalAggregator
from act_ros.policy.guest import GuestPolicy
from act_ros.policy.interface import Statistics, check_observation
from act_ros.policy.process import PolicyProcess
from act_ros.policy.rollout import (
    Rollout,
    as_played,
    make_aggregator,
    query_interval,
    tell_played,
)

if TYPE_CHECKING:
    from act_ros.policy.policy import Policy, load_policy, set_torch_threads

# These come with torch, which a process that leaves the network to another one needs not load:
# seconds, and some hundred MB.
_WITH_TORCH = ('Policy', 'load_policy', 'set_torch_threads')


def __getattr__(name: str) -> object:
    if name not in _WITH_TORCH:
        raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
    from act_ros.policy import policy

    return getattr(policy, name)


__all__ = [
    'GuestPolicy',
    'Policy',
    'PolicyProcess',
    'Rollout',
    'Statistics',
    'TemporalAggregator',
    'as_played',
    'check_observation',
    'load_policy',
    'make_aggregator',
    'query_interval',
    'set_torch_threads',
    'tell_played',
]
