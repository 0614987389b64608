"""What LeRobot normalised by: every mode as a mean and a deviation, for all are affine."""

import logging
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from act_ros.errors import CheckpointError, shorten
from act_ros.policy.checkpoint.lerobot.config import Feature, LeRobotConfig
from act_ros.policy.checkpoint.lerobot.fields import Fields, read_json
from act_ros.policy.checkpoint.lerobot.safetensors_file import SafeTensor, open_safetensors
from act_ros.policy.interface import Statistics
from detr.detr_vae import ImageStatistics

PREPROCESSOR, POSTPROCESSOR = 'policy_preprocessor.json', 'policy_postprocessor.json'
EPSILON = 1e-8
# The statistics at the ends of what becomes -1 to 1.
_RANGES = {'MIN_MAX': ('min', 'max'), 'QUANTILES': ('q01', 'q99'), 'QUANTILE10': ('q10', 'q90')}
MODES = ('MEAN_STD', *_RANGES, 'IDENTITY')
# What the steps of a processor may be, and which of their settings are known here.
_STEPS = {
    'rename_observations_processor': ('rename_map',),
    'to_batch_processor': (),
    'device_processor': ('device', 'float_dtype'),
    'normalizer_processor': ('eps', 'features', 'norm_map', 'normalize_observation_keys'),
    'unnormalizer_processor': ('eps', 'features', 'norm_map'),
}

log = logging.getLogger(__name__)

Stats = Mapping[str, np.ndarray]  # of a feature, by name
Affine = tuple[np.ndarray, np.ndarray]  # mean and deviation, (n,) float64


def read_processors(
    folder: Path, config: LeRobotConfig
) -> tuple[Statistics, tuple[ImageStatistics, ...]]:
    """The statistics of a folder with processor files.

    :raises CheckpointError: one line that names the file, the feature and what is wrong.
    """
    before = _Processor.read(folder / PREPROCESSOR, 'normalizer_processor')
    after = _Processor.read(folder / POSTPROCESSOR, 'unnormalizer_processor')
    given = [before.affine(feature) for feature in (config.state, *config.cameras)]
    return _statistics(config, given, after.affine(config.action, inverse=True))


def read_buffers(
    path: Path, config: LeRobotConfig, tensors: Mapping[str, SafeTensor]
) -> tuple[Statistics, tuple[ImageStatistics, ...]]:
    """The statistics that an older layout has among the weights.

    :param path: of the weights, for messages.
    :param tensors: those among them.
    :raises CheckpointError: one line that names the feature and what is wrong.
    """

    def affine(feature: Feature, prefix: str, inverse: bool = False) -> Affine:
        # From the feature to the name: the way back is ambiguous, for names have '_' as well.
        begin = f'{prefix}.buffer_{feature.key.replace(".", "_")}.'
        stats = {
            name.removeprefix(begin): tensor.load().double().numpy()
            for name, tensor in tensors.items()
            if name.startswith(begin)
        }
        return _affine(str(path), feature, feature.mode, stats, inverse, always=True)

    inputs = [affine(each, 'normalize_inputs') for each in (config.state, *config.cameras)]
    return _statistics(config, inputs, affine(config.action, 'unnormalize_outputs', inverse=True))


def _statistics(
    config: LeRobotConfig, inputs: list[Affine], action: Affine
) -> tuple[Statistics, tuple[ImageStatistics, ...]]:
    state, *cameras = inputs
    images = tuple(
        ImageStatistics(tuple(mean.tolist()), tuple(std.tolist())) for mean, std in cameras
    )
    if len(set(images)) == 1:
        images = images[:1]
    arrays = (array.astype(np.float32) for array in (*state, *action))
    return Statistics(*arrays), images


class _Processor:
    """The one step of a processor's file that normalises, with its statistics.

    :param path: of the JSON.
    :param config: of that step.
    :param stats: of each feature.
    """

    def __init__(self, path: Path, config: Fields, stats: Mapping[str, Stats]) -> None:
        self._path, self._stats = path, stats
        self._epsilon = config.get('eps', float, EPSILON)
        self._modes = config.object('norm_map')
        self._features = config.object('features')
        self._only = config.find('normalize_observation_keys', list)

    @classmethod
    def read(cls, path: Path, wanted: str) -> '_Processor':
        """Read a file.

        :param wanted: registered name of the step that counts.
        :raises CheckpointError: it has another step than those known, or does not have this one.
        """
        if not path.is_file():
            raise CheckpointError(
                f'no file {str(path)!r}, and no statistics in the model: how its numbers were '
                f'normalised is not known'
            )
        content = read_json(path)
        found = None
        for i, values in enumerate(content.get('steps', list)):
            if not isinstance(values, dict):
                raise CheckpointError(f'{path}: step {i} is {shorten(values)}, expected an object')
            step = Fields(f'{path}: step {i}', values)
            config = _known_step(step)
            if step.get('registry_name', str) == wanted:
                if found is not None:
                    raise CheckpointError(f'{path} has {wanted} twice, expected it once')
                found = config, step.get('state_file', str)
        if found is None:
            raise CheckpointError(f'{path} has no step {wanted}')
        config, name = found
        if Path(name).name != name:
            raise CheckpointError(f'{path}: state_file is {shorten(name)}, expected a name')
        stats: dict[str, dict[str, np.ndarray]] = {}
        with open_safetensors(path.parent / name) as tensors:
            for key, tensor in tensors.items():
                feature, _, statistic = key.rpartition('.')
                stats.setdefault(feature, {})[statistic] = tensor.load().double().numpy()
        return cls(path, config, stats)

    def affine(self, feature: Feature, inverse: bool = False) -> Affine:
        """Mean and deviation of a feature.

        :param inverse: it is an output.
        """
        if feature.key not in self._features.values:
            raise CheckpointError(f'{self._path} does not say how to normalise {feature.key}')
        kind = self._features.object(feature.key).get('type', str)
        mode = self._modes.get(kind, str, 'IDENTITY').upper()
        if self._only is not None and not inverse and feature.key not in self._only:
            mode = 'IDENTITY'
        stats = self._stats.get(feature.key, {})
        return _affine(str(self._path), feature, mode, stats, inverse, self._epsilon)


def _known_step(step: Fields) -> Fields:
    """The settings of a step, if it is one that is known.

    :raises CheckpointError: LeRobot would run code that is not known here.
    """
    name = step.find('registry_name', str)
    config = step.object('config')
    if name is None:
        raise CheckpointError(
            f'{step.path} is {shorten(step.values.get("class", "nameless"))}, code of its own, '
            f'which is not run; expected one of {", ".join(_STEPS)}'
        )
    if name not in _STEPS:
        raise CheckpointError(
            f'{step.path} is {shorten(name)}, which is not known; expected one of '
            f'{", ".join(_STEPS)}'
        )
    config.asked.update(_STEPS[name])
    if config.unknown:
        raise CheckpointError(
            f'{step.path}: {name} has {shorten(config.unknown[0])}, which is not known here'
        )
    if renamed := config.get('rename_map', dict, {}):
        pairs = ', '.join(f'{shorten(a)} as {shorten(b)}' for a, b in renamed.items())
        log.info('%s: its robot had %s; cameras here have the latter names', step.path, pairs)
    if (dtype := config.find('float_dtype', str)) not in (None, 'float32'):
        log.info('%s: trained for %s, computed here as precision says', step.path, dtype)
    return config


def _affine(
    where: str,
    feature: Feature,
    mode: str,
    stats: Stats,
    inverse: bool,
    epsilon: float = EPSILON,
    always: bool = False,
) -> Affine:
    """Mean and deviation that do what a mode does: (x - mean) / deviation, and back.

    :param where: for messages.
    :param inverse: for the way back.
    :param always: the epsilon is added to a range of any size, as before 0.4; else it replaces
        one of 0.
    :raises CheckpointError: the mode is not known, or lacks its statistics.
    """
    if mode not in MODES:
        raise CheckpointError(
            f'{where}: {feature.key} is normalised by {shorten(mode)}, expected one of '
            f'{", ".join(MODES)}'
        )
    # Of an image: of its channels.
    size = feature.shape[0]
    if mode == 'IDENTITY':
        return np.zeros(size), np.ones(size)
    names = _RANGES.get(mode, ('mean', 'std'))
    low, high = (_numbers(where, feature, mode, stats, name, size) for name in names)
    if mode == 'MEAN_STD':
        mean, std = low, high
        if (std < 0).any():
            raise CheckpointError(f'{where}: {feature.key}.std has a negative entry')
        _warn_constant(where, feature, std == 0)
        return mean, std if inverse else std + epsilon
    width = high - low
    _warn_constant(where, feature, width == 0)
    if always and not inverse:
        width = width + epsilon
    elif not always:
        width = np.where(width == 0, epsilon, width)
    # 2 (x - low) / width - 1, and (y + 1) / 2 * width + low.
    return low + width / 2, width / 2


def _numbers(
    where: str, feature: Feature, mode: str, stats: Stats, name: str, size: int
) -> np.ndarray:
    value = stats.get(name)
    if value is None:
        raise CheckpointError(
            f'{where}: {feature.key} is normalised by {mode}, but has no statistic {name!r}'
        )
    if value.size != size:
        raise CheckpointError(
            f'{where}: {feature.key}.{name} has shape {value.shape}, expected {size} numbers'
        )
    value = value.reshape(-1)
    if not np.isfinite(value).all() or (np.abs(value) > np.finfo(np.float32).max).any():
        raise CheckpointError(
            f'{where}: {feature.key}.{name} has {value[~np.isfinite(value)][:1]}: statistics '
            f'that were never set'
        )
    return value


def _warn_constant(where: str, feature: Feature, constant: np.ndarray) -> None:
    if constant.any():
        log.warning(
            '%s: %s never changed in training at %s: an input that differs from that at all is '
            'far from what the network has seen', where, feature.key,
            np.flatnonzero(constant).tolist(),
        )  # fmt: skip
