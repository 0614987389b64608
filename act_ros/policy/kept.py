"""Policies for jobs that come one after the other: the one that was used last is kept."""

import importlib
from dataclasses import replace

from act_ros.parameters import PARAMETERS, Settings
from act_ros.policy.interface import (
    LOAD_OPTIONS,
    REMOTE_OPTIONS,
    BatchPredictor,
    check_task,
    load_options,
    remote_options,
)
from act_ros.policy.process import LOAD, REMOTE
from act_ros.policy.rollout import tell_played
from act_ros.task import Task

PATIENCE = 20.0  # with a server; nothing moves meanwhile [s]

_policies: dict[tuple, BatchPredictor] = {}  # that was used last, by what it was loaded from


def load(settings: Settings, function: str = LOAD) -> BatchPredictor:
    """Load the policy that a node with these parameters would.

    :param function: 'module:function' that does it.
    :raises ActError: as `load_policy`; or the robot's cameras are not the network's.
    """
    task = Task.from_settings(settings)
    endpoint = settings.policy_endpoint
    module, name = (REMOTE if endpoint else function).split(':')
    load_policy = getattr(importlib.import_module(module), name)
    if endpoint:
        return load_policy(endpoint, task=task, timeout=PATIENCE, **remote_options(settings))
    policy = load_policy(settings.ckpt_dir, task=task, **load_options(settings))
    check_task(task, policy.task)
    return policy


def loaded(settings: Settings, function: str = LOAD) -> BatchPredictor:
    """The policy that parameters ask for; the one that was used last is kept.

    :param function: 'module:function' that loads it.
    :raises ActError: as `load`.
    """
    names = ['ckpt_dir', *LOAD_OPTIONS, 'torch_threads']
    names += ['policy_endpoint', *REMOTE_OPTIONS.values()]
    names += [row.attribute for row in PARAMETERS.values() if row.name.startswith('task.')]

    def key(engine: str) -> tuple:
        asked = replace(settings, engine=engine)
        return (function, *(getattr(asked, name) for name in names))

    asked = key(settings.engine)
    if asked not in _policies:
        _policies.clear()
        if not settings.policy_endpoint:
            from act_ros.policy import set_torch_threads

            set_torch_threads(settings.torch_threads)
        policy = load(settings, function)
        tell_played(settings, policy)
        _policies[asked] = policy
        if not settings.policy_endpoint:  # also by the engine that was chosen for it
            _policies[key(policy.engine_name)] = policy
    return _policies[asked]


def digest_of(settings: Settings) -> str:
    """Of the checkpoint that a server has, which parameters ask for.

    :raises ActError: as `load`.
    """
    return loaded(settings).about.sha256


def forget() -> None:
    """Free the policy that is kept."""
    _policies.clear()
