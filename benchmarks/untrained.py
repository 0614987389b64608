"""Checkpoints of any size that have learnt nothing: what they cost is what a trained one costs."""

import pickle
from pathlib import Path

import numpy as np
import torch

from act_ros.task import Task
from detr import DETRVAE, ACTConfig


def write_checkpoint(folder: Path, task: Task, config: ACTConfig) -> None:
    """Write weights whose activations are of order 1."""
    torch.manual_seed(0)
    network = DETRVAE(config)
    for name, parameter in network.named_parameters():
        fan = parameter[0].numel() if parameter.dim() > 1 else 0
        if name.endswith('in_proj_bias'):
            torch.nn.init.zeros_(parameter)  # the only one that begins with what memory holds
        if 'embed' in name or not fan:
            continue
        torch.nn.init.normal_(parameter, std=(2.0 if parameter.dim() == 4 else 1.0) ** 0.5
                              / fan**0.5)  # fmt: skip
    torch.save({f'model.{k}': v for k, v in network.state_dict().items()},
               folder / 'policy_best.ckpt')  # fmt: skip
    ones = {'qpos': np.ones(17, np.float32), 'action': np.ones(16, np.float32)}
    stats = {f'{k}_{what}': v * (what == 'std') for k, v in ones.items()
             for what in ('mean', 'std')}  # fmt: skip
    (folder / 'dataset_stats.pkl').write_bytes(pickle.dumps(stats))
    (folder / 'config.yaml').write_text(
        f'task: {task.name}\nnheads: 8\ndilation: false\n'
        f'camera_names: {list(task.cameras)}\nimage_size: {list(task.image_size)}\n'
    )
