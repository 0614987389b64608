"""What a training says while it runs."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Losses:
    """Means over samples. `loss` is `l1 + kl_weight * kl`, what training makes smaller."""

    l1: float
    kl: float
    loss: float


@dataclass(frozen=True)
class Validation:
    """One look at episodes that are not trained on.

    :ivar step: after how many.
    :ivar epoch: how often each sample was seen until then.
    :ivar train: of the steps since the last validation.
    :ivar validation: with the weights that would be saved, as they run: latent zero; None
        where no episode is held back.
    :ivar best: no earlier one was better, so these weights are `policy_best.ckpt`.
    :ivar seconds: of training until then, those before an interruption included.
    """

    step: int
    epoch: float
    lr: float
    train: Losses
    validation: Losses | None
    best: bool
    seconds: float


@dataclass(frozen=True)
class Progress:
    """Where a training stands.

    :ivar step: steps done, of `steps`.
    :ivar train: of the last steps.
    :ivar samples_per_s: of the last steps, all processes together.
    :ivar waited: share of their time in which the network waited for samples.
    :ivar history: every validation until now; it survives an interruption.
    :ivar ended: why no step follows, for people; None where one does.
    """

    step: int
    steps: int
    epoch: float
    lr: float
    train: Losses
    samples_per_s: float
    waited: float
    history: tuple[Validation, ...]
    ended: str | None = None
