"""A tiny training as a program: its folder and what of the recipe differs, as JSON."""

import json
import shutil
import sys
from pathlib import Path

import torch

from act_ros.training import trainer
from act_ros.training.output import STATE_NAME
from act_ros.training.team import joined
from test.training import tiny

if __name__ == '__main__':
    out, changes = sys.argv[1:]
    torch.set_num_threads(1)
    trainer.REPORT_EVERY = 0.0
    folder = Path(out)
    recipe = tiny.recipe(**json.loads(changes))

    def report(progress):
        print(progress.train.loss, flush=True)
        if progress.step == 2 and team.size > 1:
            shutil.copy(folder / STATE_NAME, folder / 'first')  # what the first step left
        return True

    with joined(cuda=False) as team:
        trainer.run(recipe, tiny.data(), folder, report, resume=True, team=team)
