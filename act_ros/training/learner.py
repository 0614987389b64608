"""A network, its optimiser and their step: a pure function of seed, step and state."""

import math
from collections.abc import Iterable
from contextlib import AbstractContextManager
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.parallel import DistributedDataParallel

from act_ros.task import Task
from act_ros.training import order
from act_ros.training.batch import Batch
from act_ros.training.objective import Objective, entry_weights
from act_ros.training.recipe import Recipe
from act_ros.training.team import Team
from act_ros.training.weights import make_network

ALONE = Team()
BFLOAT16_SINCE = (8, 0)  # of CUDA's compute capabilities
FUSED_ON_CPU = tuple(map(int, torch.__version__.split('.')[:2])) >= (2, 4)


class Learner:
    """What is trained.

    :param steps: of the training in all.
    :param device: it is trained on.
    :param team: the processes that train it, each on its part of a batch.
    """

    def __init__(
        self, recipe: Recipe, task: Task, steps: int, device: torch.device, team: Team = ALONE
    ) -> None:
        self._recipe, self._steps, self._device, self._team = recipe, steps, device, team
        network = make_network(recipe, task)
        half = recipe.precision == 'bfloat16' or (
            recipe.precision == 'auto'
            and device.type == 'cuda'
            and torch.cuda.get_device_capability(device) >= BFLOAT16_SINCE
        )
        self._half = half
        # The layout that convolutions are fast with, except those of cuDNN in float32.
        plain = device.type == 'cuda' and not half
        layout = torch.contiguous_format if plain else torch.channels_last
        network.to(device, memory_format=layout)  # type: ignore[call-overload]
        self.network = network
        weights = entry_weights(task.action, recipe.velocity_weight)
        self.objective = Objective(network, recipe.kl_weight, weights).to(device)
        for norm in network.norms:
            norm.shared = team.size > 1
        self._parallel = self._connected()
        trained = [(n, p) for n, p in network.named_parameters() if p.requires_grad]
        backbone = [p for name, p in trained if name.startswith('backbones.')]
        others = [p for name, p in trained if not name.startswith('backbones.')]
        groups = [
            {'params': others, 'base': recipe.lr}, {'params': backbone, 'base': recipe.lr_backbone}
        ]  # fmt: skip
        fused = device.type == 'cuda' or FUSED_ON_CPU
        self.optimizer = torch.optim.AdamW(groups, weight_decay=recipe.weight_decay, fused=fused)
        self._live = network.state_dict()
        changing = {name for name, _ in trained} | {
            name for name in self._live if name.endswith(('running_mean', 'running_var'))
        }
        self._mean = {name: self._live[name].clone() for name in self._live
                      if recipe.ema and name in changing}  # fmt: skip

    def rate(self, step: int) -> float:
        """By which the learning rates of a step are multiplied."""
        recipe = self._recipe
        warm = min(1.0, (step + 1) / recipe.warmup) if recipe.warmup else 1.0
        if recipe.schedule == 'constant':
            return warm
        done = max(0.0, step - recipe.warmup) / max(1, self._steps - recipe.warmup)
        return warm * 0.5 * (1 + math.cos(math.pi * min(1.0, done)))

    def step(self, step: int, batch: Batch, noise: Tensor) -> Tensor:
        """Train on a batch, or this process's part of it.

        :param step: how many came before.
        :param noise: (B, 32) of the latent.
        :returns: (3,) l1, kl and loss of it, before.
        """
        recipe = self._recipe
        if step >= recipe.freeze_norm * self._steps:
            self._freeze_norms()
        order.seed_dropout(recipe.seed, step, self._team.rank)
        for group in self.optimizer.param_groups:
            group['lr'] = group['base'] * self.rate(step)
        losses = self.gradients(batch, noise)
        if recipe.clip:
            torch.nn.utils.clip_grad_norm_(self.network.parameters(), recipe.clip)
        self.optimizer.step()
        if self._mean:
            # A young mean would be one of the weights as they were drawn.
            decay = min(recipe.ema, (1 + step) / (10 + step))
            torch._foreach_lerp_(
                list(self._mean.values()), [self._live[name] for name in self._mean], 1 - decay
            )
        return losses

    def gradients(self, batch: Batch, noise: Tensor) -> Tensor:
        """Give each weight the gradient of a batch; its losses as `step` gives them."""
        self.optimizer.zero_grad()
        self.objective.train()
        with self._precision():
            losses = self._parallel(batch.to(self._device), noise.to(self._device))
        losses[2].backward()
        return losses.detach()

    @property
    def weights(self) -> dict[str, Tensor]:
        """What is validated and saved: the moving average where there is one."""
        return {**self._live, **self._mean}

    @torch.no_grad()
    def validate(self, batches: Iterable[Batch]) -> Tensor:
        """Sums over batches of l1 as at inference, kl and loss, and how many samples, (4,)."""
        self.objective.eval()
        weights = {f'network.{key}': value for key, value in self.weights.items()}
        total = torch.zeros(4, dtype=torch.float64)
        for batch in batches:
            with self._precision():
                losses = functional_call(
                    self.objective, weights, (batch.to(self._device), None)
                )
            count = len(batch.qpos)
            total += torch.cat((losses.double().cpu(), torch.ones(1, dtype=torch.float64))) * count
        return total

    def state(self) -> dict[str, Any]:
        """What `restore` takes."""
        return {
            'network': dict(self.network.state_dict()),
            'optimizer': self.optimizer.state_dict(),
            'mean': self._mean,
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Be what another one of the same recipe was."""
        self.network.load_state_dict(state['network'])
        self.optimizer.load_state_dict(state['optimizer'])
        for name, value in self._mean.items():
            value.copy_(state['mean'][name])

    def _freeze_norms(self) -> None:
        norms = self.network.norms
        for norm in norms:
            norm.freeze()
        if norms:
            self._parallel = self._connected()

    def _connected(self) -> nn.Module:
        """The objective, whose gradients are the means over all processes."""
        if self._team.size == 1:
            return self.objective
        return DistributedDataParallel(self.objective)

    def _precision(self) -> AbstractContextManager:
        return torch.autocast(self._device.type, torch.bfloat16, enabled=self._half)
