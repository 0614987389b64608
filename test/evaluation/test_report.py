"""The report's page."""

import re
from dataclasses import replace

from act_ros.evaluation.report import page
from test.bags import bags
from test.bags.bags import write
from test.evaluation.test_evaluate import SMALL, plan, without, written
from test.limits import changed, limits_of


def test_limits_skipped_ticks_and_many_episodes_are_in_it(tmp_path, monkeypatch):
    monkeypatch.setattr(page, 'EPISODES', 2)
    path = write(tmp_path / 'run', without(bags.run(1), 'rgb_left', 0.4, 0.6))
    (tmp_path / 'table').write_text(''.join(f'{k / 3},{k / 3 + 0.33}\n' for k in range(3)))
    high = limits_of(SMALL).max_position
    high[2] = 0.4
    low = replace(changed(SMALL, max_position=high), max_skew=0.3)
    written(plan(path, settings=low, episodes=f'table:{tmp_path / "table"}'), tmp_path / 'out')
    text = (tmp_path / 'out' / 'report.html').read_text()
    assert re.search(r'<tr><td>arm/left_joint_3/position</td>\s*<td>[1-9]', text)
    assert 'The 2 of 3 episodes with the largest error.' in text
    assert len(re.findall('alt="predicted against recorded, ', text)) == 2
    assert re.search(r'<tr><td>rgb_left</td><td>\d+</td><td class="text">rgb_left is stale', text)
    assert text.count('<figure>') == 3 * 3
    assert '{{' not in text and '{%' not in text
