"""Where in a file the weights are, and what stands before their names there.

People save the policy's state_dict, or that of a wrapper around it, alone or among other
things. Wherever it is, one of its keys ends with `query_embed.weight`.
"""

import logging
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import torch

from act_ros.errors import CheckpointError, shorten
from act_ros.plain_pickle import Name
from act_ros.policy.checkpoint.pickled_file import StoredTensor

PREFIX = 'model.'
_ANCHOR = re.compile(r'(?<![^.])query_embed\.weight\Z')
# Modules that stand around others and compute nothing: DataParallel and DDP, torch.compile,
# FSDP, activation checkpointing.
_WRAPPER = re.compile(
    r'(?<![^.])(?:module|_orig_mod|_fsdp_wrapped_module|_checkpoint_wrapped_module)\.'
)
_COUNTER = 'n_averaged'  # of torch.optim.swa_utils.AveragedModel, beside the weights
_DEPTH = 4  # of dicts in dicts

log = logging.getLogger(__name__)


class Stored(Protocol):
    """A weight in a file."""

    @property
    def shape(self) -> tuple[int, ...]: ...

    def load(self) -> torch.Tensor:
        """The tensor itself; only while the file is open."""
        ...


@dataclass(frozen=True)
class Joined:
    """A weight that a file has in several, which follow each other in its first dimension."""

    parts: Sequence[Stored]

    @property
    def shape(self) -> tuple[int, ...]:
        return sum(part.shape[0] for part in self.parts), *self.parts[0].shape[1:]

    def load(self) -> torch.Tensor:
        """The tensor itself; only while the file is open."""
        return torch.cat([part.load() for part in self.parts])


@dataclass(frozen=True)
class StateDict:
    """Weights by the network's own keys.

    :ivar place: where in the file they are, as `weights` in config.yaml says it.
    :ivar prefix: of their keys, for messages.
    :ivar found: for the log: keys to the dict, and the prefix there with all wrappers.
    :ivar odd: what is no tensor, by the same keys.
    :ivar others: keys of tensors beside them.
    """

    place: str
    prefix: str
    found: tuple[tuple[str, ...], str]
    weights: dict[str, Stored] = field(default_factory=dict)
    odd: dict[str, object] = field(default_factory=dict)
    others: list[str] = field(default_factory=list)

    def name(self, key: str) -> str:
        """A key as the file has it, for messages."""
        return self.prefix + key

    def lacking(self, key: str) -> str:
        """What to say of a weight that is not there."""
        if key in self.odd:
            return f'{self.name(key)!r} is a {_described(self.odd[key])}, expected a tensor'
        return f'missing key {self.name(key)!r}'


def find_weights(path: Path, content: object, wanted: str | None = None) -> StateDict:
    """Find the policy's weights in what a file holds.

    :param wanted: their place, where there are several.
    :raises CheckpointError: there are none, or it is not said which.
    """
    found = [each for place, entries in _dicts(content) for each in _split(path, place, entries)]
    if not found:
        raise CheckpointError(_none(path, content))
    places = ', '.join(repr(each.place) for each in found)
    if wanted is not None:
        found = [each for each in found if each.place == wanted]
        if not found:
            raise CheckpointError(f'{path} has no weights {wanted!r}, it has {places}')
    if any(each.weights != found[0].weights for each in found):
        raise CheckpointError(
            f'{path} has several sets of weights: {places}; say in config.yaml which, e.g. '
            f'weights: {found[0].place}'
        )
    state = found[0]  # of several that are the same numbers
    for key in state.others:
        raise CheckpointError(f'{path}: unknown key {shorten(key)}')
    if wanted is None and state.found != ((), PREFIX):
        inside, prefix = state.found
        where = f'in {".".join(inside)!r}, ' if inside else ''
        log.info('%s: assuming the weights are those %swith the prefix %r', path, where, prefix)
    return state


def _dicts(content: object) -> Iterator[tuple[tuple[str, ...], dict]]:
    """Every dict once, with the keys that lead to it."""
    level: list[tuple[tuple[str, ...], object]] = [((), content)]
    seen: set[int] = set()
    for _ in range(_DEPTH):
        dicts = [(place, each) for place, each in level if isinstance(each, dict)]
        level = []
        for place, entries in dicts:
            if id(entries) in seen:
                continue
            seen.add(id(entries))
            yield place, entries
            level += [((*place, key), value) for key, value in entries.items()
                      if isinstance(key, str)]  # fmt: skip


def _split(path: Path, place: tuple[str, ...], entries: dict) -> Iterator[StateDict]:
    """The state_dicts that the keys of one dict make up: one for each prefix of the anchor."""
    keys = {key: _WRAPPER.sub('', key) for key in entries if isinstance(key, str)}
    full = {_ANCHOR.sub('', bare): _ANCHOR.sub('', key) for key, bare in keys.items()
            if _ANCHOR.search(bare) and isinstance(entries[key], StoredTensor)}  # fmt: skip
    made: dict[str, StateDict] = {}
    for prefix, found in full.items():
        # By the prefix only where the place alone does not tell.
        parts = place if place and len(full) == 1 else (*place, prefix.rstrip('.'))
        made[prefix] = StateDict('.'.join(filter(None, parts)), prefix, (place, found))
    # The longest first: with `ema.` and none, a key of the former is not one of the latter.
    prefixes = sorted(made, key=len, reverse=True)
    others: list[str] = []
    for key, bare in keys.items():
        value = entries[key]
        owner = next((made[each] for each in prefixes if bare.startswith(each)), None)
        if owner is None:
            if isinstance(value, StoredTensor) and key != _COUNTER:
                others.append(key)
            continue
        own = bare.removeprefix(owner.prefix)
        if own in owner.weights:
            raise CheckpointError(f'{path} has {bare!r} twice, once as {shorten(key)}')
        if isinstance(value, StoredTensor):
            owner.weights[own] = value
        else:
            owner.odd[own] = value
    for state in made.values():
        state.others.extend(others)
        yield state


def _none(path: Path, content: object) -> str:
    """Why there are no weights."""
    found = list(_dicts(content))
    others = [[key for key, value in entries.items() if isinstance(value, StoredTensor)]
              for _, entries in found]  # fmt: skip
    most = max(others, key=len, default=[])
    if any('.' in str(key) for key in most):  # a network, but another one
        return f"{path}: missing key '{PREFIX}query_embed.weight'; it has {shorten(most[:3])}"
    objects = [('.'.join(map(str, (*place, key))), value) for place, entries in found
               for key, value in entries.items() if isinstance(value, Name)]  # fmt: skip
    if isinstance(content, Name) or objects:
        place, value = objects[0] if objects else ('', content)
        what = f'{place!r} is' if place else 'it is'
        return (
            f'{path} holds more than weights and is not opened: {what} a {_described(value)}; '
            f"save the state_dict alone: torch.save(policy.state_dict(), 'policy_best.ckpt')"
        )
    return f'{path} holds a {_described(content)} without weights, expected a state_dict'


def _described(value: object) -> str:
    return value.text if isinstance(value, Name) else type(value).__name__
