"""The report's page."""

import base64
import json
import re
from dataclasses import replace

import cv2
import numpy as np
import pytest

from act_ros.evaluation.report import page
from test import browser
from test.bags import bags
from test.bags.bags import write
from test.evaluation.test_evaluate import SMALL, plan, without, written
from test.limits import changed, limits_of


@pytest.fixture(scope='module')
def out(tmp_path_factory):
    """Of a policy that errs, and whose third joint is too fast now and then."""
    folder = tmp_path_factory.mktemp('report')
    path = write(folder / 'run', bags.run(3))
    slow = limits_of(SMALL).max_velocity
    slow[2] = 0.3
    settings = changed(SMALL, max_velocity=slow)
    written(plan(path, settings=settings, load='load_erring'), folder / 'out')
    return folder / 'out'


@pytest.fixture(scope='module')
def text(out):
    return (out / 'report.html').read_text()


def pictures(text, alt):
    """The pixels of the pictures with this description, with how opaque they are."""
    coded = re.findall(f'alt="{alt}[^"]*" src="data:image/[a-z]+;base64,([^"]+)"', text)
    return [
        cv2.imdecode(np.frombuffer(base64.b64decode(each), np.uint8), cv2.IMREAD_UNCHANGED)
        for each in coded
    ]


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


def test_it_begins_with_the_summary_in_one_sentence(out, text):
    (checkpoint,) = json.loads((out / 'metrics.json').read_text())['checkpoints'].values()
    first = re.search(r'</h1>\s*<p class="sentence (\w+)">(.*)</p>', text)
    assert first[1] == ('good' if checkpoint['verdict']['of_use'] else 'warn')
    assert first[2] == checkpoint['summary']
    assert re.fullmatch(
        r'Beats [a-z ]+ by \d+(\.\d)?× or more \(least in [a-z ]+\); would have been limited in '
        r'\d+ % of ticks \(mostly \w+ of arm/left_joint_3/\w+\); worst at [\d.]+ s\.',
        checkpoint['summary'],
    )
    total = checkpoint['total']
    share = total['limits']['limited_ticks'] / total['ticks']['looked']
    assert f'{100 * share:.0f} % of ticks' in first[2]
    assert f'worst at {checkpoint["worst"][0]["seconds"]:.1f} s' in first[2]


def test_the_contents_lead_to_every_part_in_its_order(text):
    contents = re.findall(r'<li><a href="#(\w+)">(.*)</a></li>', text)
    assert contents == re.findall(r'<h2 id="(\w+)">(.*)</h2>', text)
    assert len(contents) == text.count('<h2') > 8


def test_beside_the_frames_of_the_worst_moments_are_the_entries_that_err_there(out, text):
    (checkpoint,) = json.loads((out / 'metrics.json').read_text())['checkpoints'].values()
    moments = re.findall(r'<div class="moment">.*?\n</div>\n<img class="plot" alt="([^"]*)"',
                         text, re.DOTALL)  # fmt: skip
    assert moments == ['predicted against recorded at that moment'] * len(checkpoint['worst'])
    errors = [moment['error_normalised'] for moment in checkpoint['worst']]
    assert errors == sorted(errors, reverse=True) and errors[0] > 0
    for picture in pictures(text, 'predicted against recorded at that moment'):
        assert (picture[..., 3] > 0).mean() > 0.02


def test_plots_have_no_background_and_are_of_both_schemes(text):
    plots = pictures(text, '(?:predicted|error|histogram)')
    assert len(plots) == text.count('<img class="plot"') >= 6
    for plot in plots:
        assert plot.shape[2] == 4 and plot[0, 0, 3] == 0
    assert '@media screen and (prefers-color-scheme: dark)' in text
    assert '@media print' in text


@browser.needed
@pytest.mark.parametrize('width', [1300, 420])
def test_it_is_read_light_and_dark_wide_and_narrow(out, width):
    report = out / 'report.html'
    light = browser.picture(report, width, 1500)
    dark = browser.picture(report, width, 1500, dark=True)
    assert np.median(light) == 255 and np.median(dark) < 40
    # Nothing is cut off: at the right edge there is no ink.
    assert (light[:, -4:] == 255).all()
    # Whatever is black on white is white on black: texts, and the plots that stand at the right
    # of the worst moments' frames when there is room.
    places = {1300: np.s_[:600, 220:], 420: np.s_[:600]}
    for place in (places[width], np.s_[1000:, 750:])[: 1 + (width > 1000)]:
        black = light[place].max(axis=2) < 60
        assert black.sum() > 500
        assert (dark[place].min(axis=2)[black] > 110).mean() > 0.9


@browser.needed
def test_it_is_printed_without_the_contents(out):
    report = out / 'report.html'
    sheets = report.with_suffix('.pdf')
    browser.opened(report, '--no-pdf-header-footer', f'--print-to-pdf={sheets}')
    content = sheets.read_bytes()
    assert content.startswith(b'%PDF')
    assert b'/URI' not in content and b'/Dest ' not in content  # no link, so no contents
    assert 1 < len(re.findall(rb'/Type\s*/Page\b', content)) < 20
