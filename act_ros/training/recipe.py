"""Everything that says how to train, once: name, type, default, range, text.

`Recipe` is the table: a field a row, the public code's defaults where it has the row. It is
read from a YAML of `name: value` lines; a command line has a flag for each row.
"""

import argparse
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from act_ros.errors import ParameterError
from act_ros.parameter_file import FALSE, TRUE, read_flat
from act_ros.parameters import Parameter, check_names, check_values, row, rows
from detr.backbone import RESNETS

# What may differ where a training is taken up again: it changes how it runs, not what it does.
RUNNING = ('device', 'workers', 'save_every')


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """The value of every row, each in its type and range.

    :raises ParameterError: a value does not fit, by itself or to the others.
    """

    # The network.
    chunk_size: int = row(100, 'actions that the policy predicts at once', range=(1, 10_000))
    hidden_dim: int = row(
        512, 'width of the transformer: a multiple of 4 and of heads', range=(4, 8192),
    )
    feedforward_dim: int = row(3200, 'width inside its feed-forward parts', range=(1, 65_536))
    encoder_layers: int = row(4, "layers of the encoder, and of the CVAE's", range=(1, 64))
    decoder_layers: int = row(
        7, 'layers of the decoder; those after the first are trained on nothing', range=(1, 64),
    )
    heads: int = row(8, 'attention heads', range=(1, 128))
    backbone: str = row('resnet18', 'what looks at the images', choices=tuple(RESNETS))
    backbone_width: int = row(64, 'channels of its first convolution', range=(1, 1024))
    backbone_per_camera: bool = row(False, 'a backbone for each camera instead of one for all')
    backbone_weights: str = row(
        '', "file of ImageNet weights in torchvision's layout; none: from scratch",
    )
    dilation: bool = row(False, 'features twice as fine; only resnet50 can')
    pre_norm: bool = row(False, 'the transformer normalises before its parts, not after them')
    dropout: float = row(0.1, 'share of activations left out in training', range=(0.0, 0.95))
    smooth_queries: bool = row(
        False, 'the queries begin as slow sines along the chunk instead of at random',
    )
    norm: str = row(
        'auto',
        'batch norm of the backbone: frozen as it is, or batch: trained; auto: frozen with '
        'backbone_weights',
        choices=('auto', 'frozen', 'batch'),
    )
    freeze_norm: float = row(
        0.8, 'share of the training after which a trained batch norm is frozen', range=(0.0, 1.0),
    )
    # The objective.
    cvae: bool = row(True, 'a variational encoder sees the actions; false: the latent is zero')
    kl_weight: float = row(10.0, 'weight of its divergence', range=(0.0, 1e6))
    velocity_weight: float = row(
        1.0, 'weight of the velocities of an action against its positions', range=(0.0, 1e6),
    )
    # The samples.
    sample_every: int = row(1, 'ticks from one sample of an episode to the next', range=(1, 1000))
    action_offset: int = row(
        0,
        'chunk[i] at t is the recorded action of t + i - this; the public code has 1 on real '
        'robots',
        range=(-100, 100),
    )
    validation_share: float = row(
        0.1, 'share of the episodes that are held back', range=(0.0, 0.9),
    )
    validation_samples: int = row(1000, 'most samples in a validation', range=(1, 10_000_000))
    # The optimisation.
    steps: int = row(20_000, 'steps of AdamW', range=(1, 100_000_000))
    epochs: float = row(
        0.0, 'how often each sample is seen; 0: as often as steps say', range=(0.0, 1e6),
    )
    batch_size: int = row(8, 'samples in a step, of all processes together', range=(1, 65_536))
    lr: float = row(1e-5, 'learning rate', range=(0.0, 10.0))
    lr_backbone: float = row(1e-5, 'learning rate of the backbones', range=(0.0, 10.0))
    weight_decay: float = row(1e-4, 'of AdamW', range=(0.0, 10.0))
    schedule: str = row(
        'constant', 'of the learning rates after the warm-up', choices=('constant', 'cosine'),
    )
    warmup: int = row(0, 'steps in which the learning rates rise from 0', range=(0, 10_000_000))
    clip: float = row(0.0, 'longest gradient; 0: any', range=(0.0, 1e9))
    ema: float = row(
        0.0,
        'decay of a moving average of the weights, which is validated and saved in their '
        'place; 0: none',
        range=(0.0, 0.999999),
    )
    precision: str = row(
        'auto',
        'that the network computes in; auto: bfloat16 on CUDA that has it, else float32',
        choices=('auto', 'float32', 'bfloat16'),
    )
    seed: int = row(0, 'of the weights, the order of samples, noise and dropout', range=(0, 2**31))
    # When it is looked at, and when it ends.
    validate_every: int = row(500, 'steps between validations', range=(1, 10_000_000))
    patience: int = row(
        0, 'validations without a better one that end it; 0: none do', range=(0, 1_000_000),
    )
    save_every: float = row(
        60.0, 'seconds between savings of what an interrupted training is taken up from',
        range=(0.0, 86_400.0), unit='s',
    )
    weights: str = row(
        'float32', 'that the checkpoint is saved in', choices=('float32', 'float16'),
    )
    # Where it runs.
    device: str = row('auto', 'auto, cpu, cuda or cuda:N')
    workers: int = row(2, 'threads that fetch samples; 0: the network waits', range=(0, 256))

    def __post_init__(self) -> None:
        check_values(self, ROWS)
        if self.hidden_dim % 4 or self.hidden_dim % self.heads:
            raise ParameterError(
                f"parameter 'hidden_dim' is {self.hidden_dim}; expected a multiple of 4 and of "
                f'heads {self.heads}'
            )
        if self.dilation and self.backbone != 'resnet50':
            raise ParameterError(
                f"parameter 'dilation' is true, but a {self.backbone} has none; only resnet50 can"
            )

    @property
    def norm_is_frozen(self) -> bool:
        """Whether the batch norms are constants from the first step on."""
        return self.norm == 'frozen' or (self.norm == 'auto' and bool(self.backbone_weights))

    def steps_of(self, samples: int) -> int:
        """Steps in all.

        :param samples: of the episodes to train on.
        """
        if not self.epochs:
            return self.steps
        return max(1, round(self.epochs * samples / self.batch_size))

    def lasting(self) -> dict[str, Any]:
        """What must be the same where a training is taken up again."""
        return {name: value for name, value in asdict(self).items() if name not in RUNNING}


ROWS: dict[str, Parameter] = rows(Recipe)


def add_flags(parser: argparse.ArgumentParser) -> None:
    """A flag for each row; what is not given is None."""
    group = parser.add_argument_group('recipe', 'over what --recipe says, or the default')
    for name, it in ROWS.items():
        shown = str(it.default).lower() if it.type is bool else it.default
        default = f' (default: {shown})' if it.default != '' else ''
        kind = 'true|false' if it.type is bool else '|'.join(it.choices) or it.type.__name__
        group.add_argument(
            _flag(name), dest=name, metavar=kind, help=f'{it.text}{default}'.replace('%', '%%')
        )


def read_recipe(files: Iterable[str | Path], flags: Mapping[str, object]) -> Recipe:
    """Read a recipe from files, later ones over earlier ones, and flags over them.

    :param flags: what `add_flags` made the parser find, by name; other names are left alone.
    :raises ParameterError: one line that names the row, what was found and what is expected.
    """
    values: dict[str, Any] = {}
    for path in files:
        values |= _read(Path(path))
    for name, text in flags.items():
        if name in ROWS and isinstance(text, str):
            values[name] = _value(ROWS[name], text)
    return Recipe(**values)


def _read(path: Path) -> dict[str, Any]:
    values: dict[str, Any] = {**read_flat(path)}
    try:
        check_names(values, ROWS)
        Recipe(**values)
    except ParameterError as error:
        raise ParameterError(f'{path}: {error}') from None
    return values


def _value(it: Parameter, text: str) -> object:
    """What a flag's text means; the check refuses what is left as text."""
    try:
        if it.type is bool:
            return text in TRUE if text in (*TRUE, *FALSE) else text
        return it.type(text)
    except ValueError:
        return text


def _flag(name: str) -> str:
    return '--' + name.replace('_', '-')
