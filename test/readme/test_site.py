"""The pages make a site, with no link that leads nowhere and no page that none leads to."""

import os
import re
import subprocess
import sys
from importlib.util import find_spec

import pytest

from test.readme import text

pytestmark = pytest.mark.skipif(find_spec('mkdocs') is None, reason='mkdocs is not installed')


def test_the_site_is_built_without_a_warning(tmp_path):
    done = subprocess.run(
        [sys.executable, '-m', 'mkdocs', 'build', '--strict', '--site-dir', str(tmp_path)],
        cwd=text.ROOT, capture_output=True, text=True, timeout=120,
        env={**os.environ, 'NO_MKDOCS_2_WARNING': '1'},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    front = (tmp_path / 'index.html').read_text()
    assert 'images/grasp.png' in front and (tmp_path / 'images/grasp.png').is_file()
    assert 'class="mermaid"' in (tmp_path / 'architecture.html').read_text()
    for page in text.ROOT.glob('docs/*.md'):
        shown = (tmp_path / f'{page.stem}.html').read_text()
        assert not re.search(r'href="\.\./', shown), page.name


def test_every_page_stands_in_the_contents():
    contents = (text.ROOT / 'mkdocs.yml').read_text()
    assert {path.name for path in text.ROOT.glob('docs/*.md')} == {
        *re.findall(r'- (\w+(?:\.zh)?\.md)', contents)
    } - {'index.md', 'index.zh.md'}
