"""What the README lists is what there is: parameters, flags, files, links."""

import ast
import re
import subprocess
import sys

import pytest

from act_ros.parameters import PARAMETERS
from act_ros.parameters.document import page
from act_ros.parameters.joint_limits import ROWS as ROWS_OF_JOINTS
from act_ros.training.recipe import ROWS, Recipe, read_recipe
from test.readme import text

README = text.read()


def test_every_parameter_is_listed_and_no_other():
    rows = [*text.rows(README, 'parameter'), *text.rows(README, 'limit')]
    listed = {text.code(row)[0]: '**live**' in row for row in rows}
    limits = {f'joint_limits.JOINT.{name}': row.live for name, row in ROWS_OF_JOINTS.items()}
    assert listed == {name: row.live for name, row in PARAMETERS.items()} | limits


def test_the_page_of_parameters_is_that_of_the_table():
    assert (text.ROOT / 'docs/parameters.md').read_text() == page(), (
        'it is made by: python -m act_ros.parameters > docs/parameters.md'
    )


def test_the_scripts_users_are_told_of_flags_that_there_are():
    shown = subprocess.run(
        [sys.executable, '-m', 'act_ros.inference_server', '--help'],
        cwd=text.ROOT, capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    told = (text.ROOT / 'docs/from_the_script.md').read_text()
    flags = set(re.findall(r'--[a-z][a-z-]+', told))
    assert len(flags) > 6
    assert flags <= set(re.findall(r'--[a-z][a-z-]+', shown))


@pytest.mark.parametrize(
    ('program', 'header'),
    [
        ('evaluate_bag', 'option'),
        ('inference_server', 'flag'),
        ('train', 'train option'),
        ('sim.rollout', 'roll-out option'),
        ('demo', 'demonstration option'),
    ],
)
def test_what_is_said_of_a_program_is_what_it_takes(program, header):
    shown = subprocess.run(
        [sys.executable, '-m', f'act_ros.{program}', '--help'],
        cwd=text.ROOT, capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    known = {*re.findall(r'^ +(?:-\w, )?(--[\w-]+)', shown, re.MULTILINE)} - {'--help'}
    listed = {flag for row in text.rows(README, header)
              for flag in re.findall(r'--[\w-]+', row.split('|')[1])}  # fmt: skip
    assert listed - known == set(), 'listed, but unknown to the program'
    if program in ('inference_server', 'sim.rollout', 'demo'):
        known -= {'--engine', '--precision', '--max-deviation'}  # they stand under Speed
        assert known - listed == set(), 'known to the program, but not listed'
    if program == 'train':
        rows = {f'--{name.replace("_", "-")}' for name in ROWS}
        assert known - rows - listed == set(), 'known to the program, but not listed'


def test_every_row_of_a_recipe_is_listed_with_its_default():
    listed = {}
    for row in text.rows(README, 'recipe'):
        name, default = (cell.strip().strip('`') for cell in row.split('|')[1:3])
        listed[name] = '' if default == 'empty' else default
    assert listed.keys() == ROWS.keys()
    flags = {name: value for name, value in listed.items() if value}
    assert read_recipe([], flags) == Recipe()


def test_the_layout_is_that_of_the_files():
    (layout,) = (b.text for b in text.blocks(README) if b.section == 'Layout')
    folder, listed = text.ROOT, set()
    for line in layout.splitlines():
        names = re.split(r'\s{2,}', line.strip())[0].split()
        if not line.startswith(' '):
            folder = text.ROOT / names[0]
        for name in names:
            path = folder / name if line.startswith(' ') else text.ROOT / name
            assert path.exists(), name
            listed.add(path)
    assert {path.parent for path in (text.ROOT / 'act_ros').glob('*/__init__.py')} <= listed


def test_every_link_leads_to_a_file_and_a_heading():
    for path in text.documents():
        for target in re.findall(r'\]\(([^)\s]+)\)', text.prose(path.read_text())):
            if '://' in target:
                continue
            file, _, heading = target.partition('#')
            there = path.parent / file if file else path
            assert there.exists(), f'{path.name}: {target}'
            if heading:
                assert heading in text.anchors(there.read_text()), f'{path.name}: {target}'


def requirements():
    """The names of all that setup.py wants, its extras included."""
    tree = ast.parse((text.ROOT / 'setup.py').read_text())
    texts = [node.value for node in ast.walk(tree) if isinstance(node, ast.Constant)]
    found = [re.match(r'([A-Za-z][\w-]+)(\[\w+\])?[=<>]', each) for each in texts
             if isinstance(each, str)]  # fmt: skip
    return {match[1] for match in found if match} | {'catkin_pkg', 'colcon-core', 'colcon-ros'}


def test_every_dependency_is_listed_with_its_licence():
    rows = [row.split('|') for row in text.rows(README, 'package')]
    assert all(licence.strip() for _, _, _, licence, _ in rows)
    listed = ' '.join(first for _, first, *_ in rows).lower()
    wanted = requirements()
    assert len(wanted) > 40
    patterns = [word.strip('`*') for word in re.findall(r'`ros-[\w-]*\*`', listed)]
    missing = {name for name in wanted
               if name.lower() not in listed and not name.startswith(tuple(patterns))}  # fmt: skip
    assert not missing
