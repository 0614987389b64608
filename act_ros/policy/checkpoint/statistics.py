"""Read `dataset_stats.pkl`: means and deviations of the training data."""

import contextlib
from pathlib import Path
from typing import Literal

import numpy as np

from act_ros.errors import CheckpointError, shorten
from act_ros.plain_pickle import Name
from act_ros.policy.checkpoint.pickled_file import StoredTensor, open_pickled, readable
from act_ros.policy.interface import Statistics

KEYS = ('qpos_mean', 'qpos_std', 'action_mean', 'action_std')
# What turns anything that NumPy can convert into plain arrays.
_REMEDY = (
    'import pickle, numpy as np; s = pickle.load(open({path!r}, {read!r})); '
    'pickle.dump({{k: np.asarray(s[k], np.float32) for k in {keys!r}}}, open({path!r}, {write!r}))'
)


def read_statistics(
    path: Path, state_dim: int, action_dim: int, action: Literal['action', 'qpos'] = 'action'
) -> Statistics:
    """Read four arrays; whatever else the file holds is left alone.

    :param action: whose mean and deviation the training normalised actions by.
    :raises CheckpointError: one line that names the key, and what was expected.
    """
    if not path.is_file():
        raise CheckpointError(
            f'no statistics {str(path)!r}; training writes them beside the checkpoint'
        )
    with open_pickled(path, 'dict of plain arrays') as content:
        if not isinstance(content, dict):
            raise CheckpointError(
                f'{path} is not a dict of plain arrays: it holds a {_described(content)}'
            )
        values = {key: _numbers(path, key, content) for key in KEYS}
    sizes = {'qpos': state_dim, 'action': action_dim}
    if action == 'qpos':
        values |= {f'action_{what}': values[f'qpos_{what}'] for what in ('mean', 'std')}
    for key, value in values.items():
        size = sizes[key.split('_')[0]]
        if value.size != size:
            raise CheckpointError(
                f'{path}: {key!r} has shape {value.shape}, the weights need ({size},)'
            )
    arrays = {key: _checked(path, key, value.reshape(-1)) for key, value in values.items()}
    return Statistics(**arrays)


def _numbers(path: Path, key: str, content: dict) -> np.ndarray:
    """What a key holds, as an array of its own."""
    if content.get(key) is None:
        raise CheckpointError(
            f'{path}: {key!r} is nothing, expected an array; the file has '
            f'{shorten(list(content))}'
        )
    value = content[key]
    array = None
    if isinstance(value, StoredTensor):
        with readable(path, 'dict of plain arrays'):
            array = value.load().double().numpy()
    elif isinstance(value, np.ndarray | np.generic | list | tuple | float):
        with contextlib.suppress(ValueError):  # of lists of unequal length
            array = np.array(value)  # a copy: one that was read is a view of the file's bytes
    if array is not None and array.dtype.kind in 'fiu':
        return array
    command = _REMEDY.format(path=str(path), keys=KEYS, read='rb', write='wb')
    raise CheckpointError(
        f'{path} is not a dict of plain arrays: {key!r} is a {_described(value)}; where you '
        f'trained, and if you trust the file, run: python3 -c "{command}"'
    )


def _checked(path: Path, key: str, value: np.ndarray) -> np.ndarray:
    with np.errstate(over='ignore'):
        value = value.astype(np.float32)
    bad = ~np.isfinite(value)
    what = 'not finite'
    if key.endswith('std') and not bad.any():
        bad, what = value <= 0, 'not positive'
    if bad.any():
        i = int(np.argmax(bad))
        hint = '; training gives one that never moved 0.01' if what == 'not positive' else ''
        raise CheckpointError(
            f'{path}: {key!r} has an entry that is {what}: {value[i]:g} at {i} (of 0 to '
            f'{len(value) - 1}){hint}'
        )
    return value


def _described(value: object) -> str:
    if isinstance(value, np.ndarray):
        return f'{value.dtype} array'
    return value.text if isinstance(value, Name) else type(value).__name__
