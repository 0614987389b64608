"""What is there in Chinese says the same as in English: commands, code and links."""

import re

import pytest

from test.readme import text

PAGES = [('README.md', 'README.zh.md'), ('docs/first_motion.md', 'docs/first_motion.zh.md')]
# Of what only the English page has, or one that leads to the other.
APART = {'README.md', 'README.zh.md', 'first_motion.md', 'first_motion.zh.md',
         'README.md#dependencies'}  # fmt: skip


def read(name):
    content = (text.ROOT / name).read_text()
    # A table that the other page links to.
    return re.sub('## Dependencies.*(?=## Licence)', '', content, flags=re.DOTALL)


def links(content):
    found = re.findall(r'\]\(([^)\s]+)\)', text.prose(content))
    return [link.replace('.zh.md', '.md') for link in found if link not in APART]


@pytest.mark.parametrize(('english', 'chinese'), PAGES)
def test_both_pages_have_the_same_commands_code_and_links(english, chinese):
    ours, theirs = read(english), read(chinese)
    assert text.commands(ours) == text.commands(theirs)
    assert [block.language for block in text.blocks(ours)] == [
        block.language for block in text.blocks(theirs)
    ]
    assert sorted(text.code(text.prose(ours))) == sorted(text.code(text.prose(theirs)))
    assert links(ours) == links(theirs)
    tables = [re.findall(r'^\|', page, re.MULTILINE) for page in (ours, theirs)]
    assert len(tables[0]) == len(tables[1])
    levels = [re.findall(r'^#+', text.prose(page), re.MULTILINE) for page in (ours, theirs)]
    assert levels[0] == levels[1]
