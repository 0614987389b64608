"""The endurance run as a process, at its smallest size."""

import json
import os
import subprocess
import sys

from test.bridge.servers import ROOT

PATIENCE = 180  # [s] until the test gives up


def test_the_smallest_run(tmp_path):
    path = tmp_path / 'figures.json'
    done = subprocess.run(
        [sys.executable, '-m', 'test.endurance', '--quick', '--json', path],
        cwd=ROOT, env={**os.environ, 'PYTHONPATH': str(ROOT)},
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=PATIENCE, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout
    figures = json.loads(path.read_text())
    assert figures['crowd_right'] == figures['crowd_survivors'] == 6
    assert figures['soak_requests'] > figures['soak_errors'] > 0
    assert figures['soak_connections'] > 20 and figures['soak_sessions_left'] == 0
    assert figures['rss_mb'] > 100
