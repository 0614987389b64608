"""Every benchmark as a process, at its smallest size: that it runs, not what it measures."""

import json
import os
import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PATIENCE = 180  # [s] until a test gives up; control_loop allows its node as long to load
FIGURES = {
    'bridge': {
        'bare_p50_ms', 'bare_p99_ms', 'bare_per_s', 'bridge_p50_ms', 'bridge_p99_ms',
        'bridge_per_s', 'client_p50_ms', 'ratio', 'request_mb',
        'single_per_s', 'clients_1_per_s', 'clients_1_ratio', 'clients_4_per_s', 'clients_4_ratio',
        'clients_16_per_s', 'clients_16_ratio',
    },
    'control_loop': {
        'ticks_missed', 'jitter_p50_ms', 'jitter_p99_ms', 'jitter_max_ms', 'command_rate_hz',
        'cpu_percent', 'rss_growth_mb', 'realtime', 'seconds', 'inferences', 'node_overruns',
        'zmq_requests',
    },
    'evaluation': {'overhead_ms', 'sweep_ms', 'report_s', 'rss_mb', 'rss_growth_mb'},
    'front': {
        f'{size}_{clients}_{what}' for size in ('small', 'large') for clients in (1, 16)
        for what in ('front_per_s', 'router_per_s', 'ratio')
    },
    'training': {
        'samples_per_s', 'bare_per_s', 'ratio', 'waited', 'decode_share', 'peak_mb',
    },
}  # fmt: skip
ROWS = {
    'aggregation': {
        'step', 'microseconds', 'p99_microseconds', 'bytes', 'public_microseconds',
        'public_bytes',
    },
    'inference': {
        'engine', 'precision', 'device', 'batch', 'known', 'p50_ms', 'p99_ms', 'passes', 'per_s',
        'speedup', 'max_deviation', 'peak_fraction',
    },
    'motion': {
        'latency_ms', 'rule', 'jerk_rms', 'jerk_max', 'seam_mrad', 'limit_hits', 'hits',
        'speed_error', 'error_mrad', 'reached_percent', 'chunks', 'without_plan',
    },
}  # fmt: skip
LOADING = {'load_s', 'load_mb'}


@pytest.fixture
def run(tmp_path):
    """Run a benchmark with `--quick`, and return what it wrote."""

    def run(name, *arguments):
        path = tmp_path / 'figures.json'
        done = subprocess.run(
            [sys.executable, '-m', f'benchmarks.{name}', '--quick', '--json', path, *arguments],
            # One thread: where others work too, several wait for each other most of the time.
            cwd=ROOT, env={**os.environ, 'OMP_NUM_THREADS': '1', 'PYTHONPATH': str(ROOT)},
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=PATIENCE,
            check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout
        return json.loads(path.read_text())

    return run


def test_every_benchmark_with_a_command_line_is_here():
    found = {
        path.stem for path in (ROOT / 'benchmarks').glob('*.py')
        if re.search('^if __name__', path.read_text(), re.MULTILINE)
    }  # fmt: skip
    assert found - {'robot_traffic', 'zmq_load'} == {*FIGURES, *ROWS}  # parts of control_loop


@pytest.mark.parametrize('name', [name for name in FIGURES if name != 'control_loop'])
def test_its_figures(run, name):
    figures = run(name)
    assert {*figures} == FIGURES[name]
    assert all(isinstance(value, (int, float)) for value in figures.values())


@pytest.mark.skipif(find_spec('rclpy') is None, reason='rclpy is not importable')
def test_the_figures_of_the_control_loop(run):
    figures = run('control_loop', '--zmq-load')
    assert {*figures} == FIGURES['control_loop']
    assert figures['inferences'] >= 1
    assert figures['zmq_requests'] >= 1


def test_the_rows_of_aggregation(run):
    rows = run('aggregation')
    assert [row['step'] for row in rows] == [10, 100]
    assert all({*row} == ROWS['aggregation'] for row in rows)


def test_the_rows_of_inference(run, tmp_path):
    rows = run('inference', '--plot', tmp_path / 'bars.png')
    assert (tmp_path / 'bars.png').stat().st_size > 0
    assert all({*row} - LOADING - {'stages'} == ROWS['inference'] for row in rows)
    assert [row['engine'] for row in rows if 'stages' in row] == ['torch']
    assert {row['engine'] for row in rows if {*row} >= LOADING} == {'torch'}
    # The plain network once; each engine and precision alone, in batches, and with known frames.
    ways = {(row['engine'], row['precision']) for row in rows}
    assert {engine for engine, _ in ways} == {'plain', 'torch'}
    batches = {row['batch'] for row in rows}
    assert len(rows) == 1 + (len(ways) - 1) * (len(batches) + 1)


def test_the_rows_of_motion(run):
    figures = run('motion', '--chunk-size', '80')
    rows = figures.pop('rows')
    assert figures['chunk_size'] == 80
    assert all(isinstance(value, (int, float)) for value in figures.values())
    assert all({*row} == ROWS['motion'] for row in rows)
    rules = [row['rule'] for row in rows if row['latency_ms'] == 60]
    assert rules[:2] == ['public', 'default']
    assert [(row['latency_ms'], row['rule']) for row in rows] == [
        (latency, rule) for latency in (60, 200, 500, 1000) for rule in rules
    ]
