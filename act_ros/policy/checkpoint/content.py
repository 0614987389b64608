"""A checkpoint as read, whatever its format."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from act_ros.policy.checkpoint.side_config import SideConfig
from act_ros.policy.interface import Statistics
from detr import DETRVAE, ACTConfig


@dataclass(frozen=True)
class Checkpoint:
    """The network's sizes, its weights, the statistics.

    :ivar path: of the weights.
    :ivar side: what is said of the robot beside them.
    :ivar own_settings: values of parameters as it was trained for; the user's own win.
    """

    path: Path
    config: ACTConfig
    weights: dict[str, torch.Tensor] = field(repr=False)
    statistics: Statistics = field(repr=False)
    side: SideConfig
    own_settings: Mapping[str, Any] = field(default_factory=dict)

    def network(self) -> DETRVAE:
        """The plain network with these weights, float32 on the CPU, not to be trained."""
        with torch.device('meta'):
            network = DETRVAE(self.config)
        network.load_state_dict(self.weights, assign=True)
        return network.eval().requires_grad_(False)
