"""Checkpoint, normalisation, network, chunk, aggregation, action."""

from act_ros.policy.aggregation import ActionSource, ChunkPlayer, TemporalAggregator
from act_ros.policy.policy import Policy, check_observation, load_policy, set_torch_threads
from act_ros.policy.process import PolicyProcess
from act_ros.policy.rollout import Rollout, make_action_source, query_interval

__all__ = [
    'ActionSource',
    'ChunkPlayer',
    'Policy',
    'PolicyProcess',
    'Rollout',
    'TemporalAggregator',
    'check_observation',
    'load_policy',
    'make_action_source',
    'query_interval',
    'set_torch_threads',
]
