"""The policy that comes with this package does the simulated robot's task, and is told to."""

import json
from dataclasses import asdict, replace

import pytest

from act_ros.bags.writing import write_bag
from act_ros.config import CONFIG_DIR
from act_ros.evaluation.report.metrics import metrics
from act_ros.evaluation.run.evaluate import carry_out as evaluate
from act_ros.evaluation.run.plan import Options, make_plan
from act_ros.sim import DEMONSTRATION, SEED
from act_ros.sim.demo_bag import demo_settings
from act_ros.sim.expert import DURATION
from act_ros.sim.record import attempt
from act_ros.sim.rollout.run import carry_out, contenders, figures
from act_ros.task import Task
from act_ros.training.recipe import read_recipe


@pytest.fixture(scope='module')
def settings():
    return replace(demo_settings(), device='cpu', torch_threads=1)


def test_it_was_trained_by_the_recipe_that_comes_with_it():
    made = json.loads((DEMONSTRATION / 'training.json').read_text())
    recipe = asdict(read_recipe([CONFIG_DIR / 'demo_recipe.yaml'], {}))
    assert made['recipe'] == {name: recipe[name] for name in made['recipe']}
    assert len(made['recipe']) > 20
    rows = json.loads((DEMONSTRATION / 'rollout.json').read_text())['results']
    assert [row['latency_ms'] for row in rows] == [0, 200, 500, 1000]


def test_nine_of_ten_attempts_succeed(settings):
    seeds = range(SEED, SEED + 10)
    trying = contenders(settings, {'demonstration': str(DEMONSTRATION)}, [0.2], expert=False)
    made = carry_out(trying, seeds, 1, lambda attempt: None, lambda *_: True)
    found = figures(trying, made, seeds)['results'][0]
    failed = [each for each in found['attempts'] if not each['success']]
    assert found['succeeded'] >= 9, failed
    assert found['faults'] == {} and found['ticks_without_plan'] == 0


def test_on_a_recording_of_the_expert_it_beats_whatever_needs_no_policy(settings, tmp_path):
    recorded = attempt(Task.from_settings(settings), settings, SEED + 100, DURATION)
    write_bag(tmp_path / 'run', recorded)
    plan = make_plan(
        [tmp_path / 'run'], {'demonstration': replace(settings, ckpt_dir=str(DEMONSTRATION))},
        offset=0, options=Options(stride=5),
    )  # fmt: skip
    found = metrics(evaluate(plan, tmp_path / 'out'))['checkpoints']['demonstration']
    assert found['total']['ticks']['scored'] > 50
    verdict = found['verdict']
    assert verdict['of_use'], verdict['text']
    for group in ('joint positions', 'gripper'):
        assert verdict['ratio'][group] < 0.5 and verdict['chunks'][group] < 0.5, verdict['text']
