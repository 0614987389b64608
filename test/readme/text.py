"""What a README says: its commands and snippets, in its own words."""

import re
import sys
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
# Inline code of two words or more is a command if it begins with one of these.
PROGRAMS = {
    'apt', 'colcon', 'evaluate_bag', 'kill', 'make', 'pip', 'python', 'replay', 'rm', 'ros2',
    'rosdep', 'source', 'systemd-run',
}  # fmt: skip
_FENCED = re.compile(r'^```(\w*)\n(.*?)^```$', re.MULTILINE | re.DOTALL)
_INLINE = re.compile(r'(?<!`)`([^`\n]+)`(?!`)')


@dataclass(frozen=True)
class Block:
    """A fenced block.

    :ivar section: the heading above it.
    """

    section: str
    language: str
    text: str


def blocks(text: str) -> list[Block]:
    """All fenced blocks, in order."""
    found = []
    for match in _FENCED.finditer(text):
        headings = re.findall(r'^#+ (.*)$', prose(text[: match.start()]), re.MULTILINE)
        found.append(Block(headings[-1], match[1], match[2]))
    return found


def prose(text: str) -> str:
    """What is in no fenced block."""
    return _FENCED.sub('', text)


def commands(text: str) -> list[str]:
    """Every command, of the fenced blocks and within the lines, each once.

    Comments are left out, and a command of several lines is one.
    """
    found = [
        command
        for block in blocks(text) if block.language == 'bash'
        for line in block.text.replace('\\\n', ' ').splitlines()
        if (command := ' '.join(re.sub(r'(^|\s)#.*', '', line).split()))
    ]  # fmt: skip
    for span in _INLINE.findall(prose(text)):
        program, *arguments = span.split()
        if arguments and (program in PROGRAMS or program.startswith('.venv/bin/')):
            found.append(' '.join(span.split()))
    return list(dict.fromkeys(found))


def anchors(text: str) -> set[str]:
    """What links may name in a page: its headings, as those who show it spell them."""
    headings = re.findall(r'^#+ (.*)$', prose(text), re.MULTILINE)
    return {re.sub(r'[^\w\- ]', '', heading.lower()).replace(' ', '-') for heading in headings}


def code(text: str) -> list[str]:
    """What stands in backticks."""
    return _INLINE.findall(text)


def rows(text: str, header: str) -> list[str]:
    """The rows of the first table that is headed so."""
    lines = text[text.index(f'\n| {header} |') :].split('\n\n')[0].strip().splitlines()
    return lines[2:]


def documents() -> list[Path]:
    """The documents for users."""
    names = ('README.md', 'README.zh.md', 'CONTRIBUTING.md', 'ckpt/README.md')
    first = [ROOT / name for name in names]
    return [*first, *sorted(ROOT.glob('docs/**/*.md'))]


def read() -> str:
    """All of the documents, one after the other."""
    return '\n'.join(path.read_text() for path in documents())


def has_scripts() -> bool:
    """Whether this Python is an environment as `make setup` makes one."""
    return all((Path(sys.prefix) / 'bin' / name).exists() for name in ('evaluate_bag', 'act_node'))
