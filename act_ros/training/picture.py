"""The picture of a training: how its losses went."""

from collections.abc import Callable, Sequence
from pathlib import Path

from matplotlib.figure import Figure

from act_ros.training.progress import Losses, Validation

COLOURS = {'train': '#c44e17', 'validation': '#1668a8'}


def draw(history: Sequence[Validation], path: Path) -> None:
    """Write the losses, their parts and the learning rate against the steps, as PNG.

    :param history: of the training until now.
    """
    figure = Figure(figsize=(11, 6.5), layout='constrained')
    axes = figure.subplots(2, 2, sharex=True).ravel()
    panels: dict[str, Callable[[Losses], float]] = {
        'loss': lambda of: of.loss,
        'L1': lambda of: of.l1,
        'KL': lambda of: of.kl,
    }
    steps = [each.step for each in history]
    best = next((each for each in reversed(history) if each.best), None)
    for axis, (title, value) in zip(axes, panels.items(), strict=False):
        values = [value(each.train) for each in history]
        axis.plot(steps, values, color=COLOURS['train'], label='train')
        held = [(each.step, each.validation) for each in history if each.validation is not None]
        if held:
            values += [value(losses) for _, losses in held]
            axis.plot([step for step, _ in held], [value(losses) for _, losses in held],
                      color=COLOURS['validation'], label='validation')  # fmt: skip
        if best is not None:
            axis.axvline(best.step, color='#2c8a4b', ls='--', lw=1, label=f'best: {best.step}')
        if min(values, default=0.0) > 0:
            axis.set_yscale('log')
        axis.set_title(title, fontsize=9, loc='left')
    axes[3].plot(steps, [each.lr for each in history], color='#5a6b7b')
    axes[3].set_title('learning rate', fontsize=9, loc='left')
    for axis in axes:
        axis.tick_params(which='both', labelsize=7)
        axis.grid(alpha=0.25, lw=0.5)
    for axis in axes[2:]:
        axis.set_xlabel('step', fontsize=8)
    axes[0].legend(fontsize=7)
    figure.savefig(path, format='png', dpi=100)
