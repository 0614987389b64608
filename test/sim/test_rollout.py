"""`python -m act_ros.sim.rollout`: the loop closed on the task, and what is told of it."""

import json
from dataclasses import replace

import numpy as np
import pytest
import yaml

from act_ros.config import CONFIG_DIR, parameter_files
from act_ros.parameter_file import read_parameter_file
from act_ros.sim import SEED
from act_ros.sim.rollout.__main__ import main
from act_ros.sim.rollout.attempt import Attempt, Job, do_attempt
from act_ros.sim.rollout.run import Contender, carry_out, figures
from act_ros.sim.rollout.totals import totals, wilson
from act_ros.task import Task
from test.limits import changed, limits_of
from test.rule import small_config, write_random

SETTINGS = read_parameter_file(*parameter_files(CONFIG_DIR / 'demo.yaml'))
SIZE = (24, 32)
SMALL = replace(SETTINGS, task_image_size=SIZE)


def go_on(*_):
    return True


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    """A checkpoint that has learnt nothing, for small frames, and parameters that fit it."""
    folder = tmp_path_factory.mktemp('rollout')
    write_random(folder / 'ckpt', small_config(chunk_size=60), image_size=list(SIZE))
    content = yaml.safe_load((CONFIG_DIR / 'demo.yaml').read_text())
    content['/**']['ros__parameters']['task']['image_size'] = list(SIZE)
    (folder / 'robot.yaml').write_text(yaml.safe_dump(content))
    return folder


@pytest.fixture
def call(folder, tmp_path, capsys):
    """Call the command line with what fits, and what is given after it."""

    def run(*arguments):
        code = main([
            '--ckpt-dir', str(folder / 'ckpt'), '--params-file', str(folder / 'robot.yaml'),
            '--episodes', '2', '--latency', '500', *arguments,
        ])  # fmt: skip
        return code, capsys.readouterr()

    return run


def settings_of(folder):
    return replace(SMALL, ckpt_dir=str(folder / 'ckpt'))


# --- what is made of an attempt


def test_the_expert_succeeds_and_its_motion_is_measured():
    attempt = do_attempt(Job('expert', SMALL, SEED, None), go_on)
    assert attempt.success
    assert 1 < attempt.grasped < 5
    assert attempt.distances[0] > 0.1 and attempt.distances[-1] < 0.02
    assert len(attempt.distances) < 5 * 50
    assert 0 < attempt.jerk_rms < attempt.jerk_max
    assert attempt.trouble == '' and attempt.hits == {}


class Still:
    """A policy that wants the arm to stay where it is."""

    chunk_size = 50

    def __init__(self, task):
        self.task = task

    def predict(self, qpos, images):
        names = [str(entry) for entry in self.task.state]
        action = np.zeros(self.task.action_dim)
        for i, entry in enumerate(map(str, self.task.action)):
            if entry in names:
                action[i] = qpos[names.index(entry)] * entry.endswith('position')
        return np.tile(action, (self.chunk_size, 1))


class Wild(Still):
    """A policy that wants the arm everywhere at once."""

    def __init__(self, task):
        super().__init__(task)
        self._random = np.random.default_rng(0)

    def predict(self, qpos, images):
        return self._random.uniform(-1, 1, (self.chunk_size, self.task.action_dim))


@pytest.fixture
def flown_by(monkeypatch):
    """Let a class of policies try, for so many seconds."""

    def attempt(policy, seconds, latency, settings=SMALL):
        monkeypatch.setattr('act_ros.sim.rollout.attempt.TIME_LIMIT', seconds)
        made = policy(Task.from_settings(settings))
        monkeypatch.setattr('act_ros.sim.rollout.attempt.loaded', lambda settings: made)
        return do_attempt(Job('x', settings, SEED, latency), go_on)

    return attempt


def test_who_stands_still_fails_and_was_asked_back_to_back(flown_by):
    attempt = flown_by(Still, 3.0, 0.5)
    assert not attempt.success and attempt.grasped is None
    assert len(attempt.distances) == 150
    assert attempt.distances[-1] > 0.1
    assert attempt.trouble == '' and attempt.stops == 0
    # The first begins when the third camera has come; the last is still under way.
    assert len(attempt.durations) == 5


def test_a_pass_at_once_is_one_of_every_tick(flown_by):
    assert len(flown_by(Still, 0.5, 0.0).durations) == 25 - 2


def test_between_steps_nothing_is_asked(flown_by):
    attempt = flown_by(Still, 0.5, 0.0, replace(SMALL, command_rate=100.0))
    assert len(attempt.distances) == 50
    assert 20 < len(attempt.durations) <= 24


def test_the_limits_of_the_task_are_on(flown_by):
    attempt = flown_by(Wild, 3.0, 0.1)
    assert sum(attempt.hits.values()) > 20
    assert attempt.seam <= max(limits_of(SMALL).max_step) * 1.001


def test_a_joint_that_does_not_follow_ends_the_commands(flown_by):
    attempt = flown_by(Wild, 1.0, 0.1, changed(SMALL, max_tracking_error=1e-4))
    assert 'further apart than max_tracking_error 0.0001' in attempt.trouble
    assert attempt.stops == 1


def test_why_commands_never_began_is_told(flown_by):
    attempt = flown_by(Still, 1.0, 0.5, replace(SMALL, max_skew=0.001))
    assert 'more than max_skew 0.001 s' in attempt.trouble
    assert attempt.durations == () and attempt.jerks == 0
    assert totals([attempt])['faults'] == {attempt.trouble: 1}
    assert totals([attempt])['jerk_rms'] is None


def test_an_attempt_ends_where_it_is_not_to_go_on(folder):
    asked = []
    assert do_attempt(Job('expert', SMALL, SEED, None), lambda n: asked.append(n)) is None
    assert asked == [0]


# --- several together


def test_wilson_is_an_interval_that_holds_the_share():
    # Of Wilson's formula, by hand: 9 of 10, 10 of 10, 0 of 50.
    assert wilson(9, 10) == pytest.approx((0.5958, 0.9821), abs=1e-4)
    assert wilson(10, 10) == pytest.approx((0.7225, 1.0), abs=1e-4)
    assert wilson(0, 50) == pytest.approx((0.0, 0.0713), abs=1e-4)


def attempt(seed, grasped, jerks, jerk, **rest):
    return Attempt(
        seed, grasped is not None, grasped, np.array([0.3, 0.01, 0.02]), jerks, jerk, 2 * jerk,
        0.01 * seed, **rest,
    )  # fmt: skip


def test_totals_are_of_all_attempts():
    of_all = totals([
        attempt(1, 3.0, 100, 2.0, hits={'step': 3}, without_plan=2),
        attempt(2, 5.0, 300, 4.0, hits={'step': 1, 'ramp': 1}, stops=1, trouble='x'),
        attempt(3, None, 0, np.nan, trouble='x', durations=(0.01, 0.03)),
    ])  # fmt: skip
    assert of_all['success'] == pytest.approx(2 / 3)
    assert (of_all['time_median_s'], of_all['time_max_s']) == (4.0, 5.0)
    assert of_all['jerk_rms'] == pytest.approx(np.sqrt((100 * 4 + 300 * 16) / 400), rel=1e-3)
    assert of_all['jerk_max'] == 8.0 and of_all['seam_mrad'] == 30.0
    assert of_all['closest_median_mm'] == 10.0 and of_all['final_median_mm'] == 20.0
    assert of_all['hits'] == {'step': 4, 'ramp': 1} and of_all['limit_hits'] == 5
    assert of_all['ticks_without_plan'] == 2 and of_all['stops'] == 1
    assert of_all['faults'] == {'x': 2}
    assert of_all['inference_p50_ms'] == 20.0


def test_processes_change_nothing(folder):
    trying = [Contender('x', settings_of(folder), 1.0), Contender('expert', SMALL, None)]
    one, two = (
        carry_out(trying, [SEED], workers, lambda attempt: None, go_on) for workers in (1, 2)
    )
    for (mine,), (theirs,) in zip(one, two, strict=True):
        assert mine.distances.tolist() == theirs.distances.tolist()
        assert replace(mine, distances=None, durations=()) == replace(
            theirs, distances=None, durations=()
        )


def test_what_was_tried_before_a_stop_counts():
    trying, tried = [Contender('expert', SMALL, None)], []
    made = carry_out(trying, [1, 2, 3], 1, tried.append, lambda *_: len(tried) < 2)
    found = figures(trying, made, [1, 2, 3])
    assert found['partial'] is True
    assert [each['seed'] for each in found['results'][0]['attempts']] == [1, 2]


# --- the command line


def test_figures_and_picture_are_written(call, tmp_path):
    out = tmp_path / 'out'
    code, said = call('--latency', '1000', '--expert', '--episodes', '1',
                      '--json', str(tmp_path / 'x.json'), '--out', str(out))  # fmt: skip
    assert code == 0
    text = ' '.join(said.out.split())
    for words in ('ckpt, 500 ms 0 of 1', 'ckpt, 1000 ms 0 of 1', 'expert 1 of 1',
                  f'ckpt, 500 ms: failed with seeds {SEED}', 'times real time'):  # fmt: skip
        assert words in text
    found = json.loads((tmp_path / 'x.json').read_text())
    assert found == json.loads((out / 'rollout.json').read_text())
    assert found['success'] == 0.0 and found['partial'] is False
    rows = [(row['checkpoint'], row['latency_ms'], row['success']) for row in found['results']]
    assert rows == [('ckpt', 500.0, 0.0), ('ckpt', 1000.0, 0.0), ('expert', None, 1.0)]
    # The node would refuse 0.5 s: an observation is up to two passes old.
    assert found['results'][0]['command_timeout_s'] > 1.0
    assert [each['seed'] for each in found['results'][0]['attempts']] == [SEED]
    assert {'success', 'time_s', 'closest_mm', 'jerk_rms', 'seam_mrad', 'hits', 'fault'} <= {
        *found['results'][0]['attempts'][0]
    }
    assert (out / 'rollout.png').read_bytes().startswith(b'\x89PNG')


@pytest.mark.parametrize(
    ('arguments', 'text'),
    [
        (('--episodes', '0'), '--episodes is 0, expected 1 to 100000'),
        (('--workers', '0'), '--workers is 0, expected 1 to 1024'),
        (('--torch-threads', '0'), '--torch-threads is 0, expected 1 to 1024'),
        (('--seed', '-1'), '--seed is -1, expected 0 to 4294967295'),
        (('--latency', '-1'), '--latency is -1, expected 0 to 10000 ms'),
        (('--latency', 'nan'), '--latency is nan, expected 0 to 10000 ms'),
        (('--latency', '500'), '--latency 500 is given twice'),
        (('--ckpt-dir', 'none'), 'no checkpoint folder'),
        (('--params-file', 'none.yaml'), 'none.yaml'),
        (('--params-file', str(CONFIG_DIR / 'demo.yaml')), "parameter 'task.image_size' is [96, "),
        (('--json', 'none/x.json'), '--json none/x.json: there is no folder'),
        (('--out', '/dev/null/out'), 'Not a directory'),
    ],
)  # fmt: skip
def test_bad_input_is_one_line(call, arguments, text):
    code, said = call(*arguments)
    (line,) = [line for line in said.err.splitlines() if 'error' in line]
    assert line.startswith('rollout: error: ') and text in line
    assert 'Traceback' not in said.err
    assert code == 2


def test_a_robot_that_there_is_not_is_one_line(call, folder, tmp_path):
    content = yaml.safe_load((folder / 'robot.yaml').read_text())
    content['/**']['ros__parameters']['outputs'] = ['arm/x JointTrajectory']
    (tmp_path / 'other.yaml').write_text(yaml.safe_dump(content))
    code, said = call('--params-file', str(tmp_path / 'other.yaml'))
    assert code == 2
    assert 'the simulated robot follows a JointState with position and velocity' in said.err
