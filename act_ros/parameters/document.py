"""The table of parameters as a page for people: docs/parameters.md."""

from act_ros.parameters.joint_limits import PREFIX, ROWS
from act_ros.parameters.settings import PARAMETERS
from act_ros.parameters.table import Parameter

_TYPES = {bool: 'true or false', int: 'whole number', float: 'number', str: 'text'}
_HEAD = """# Parameters

Every parameter of the node, as `ros2 param describe /act NAME` tells it too. The programs \
without ROS read the same files. This page is made from the table in the code: \
`python -m act_ros.parameters > docs/parameters.md`.

Those marked **live** can be set while the node is active. All others are fixed while it is \
configured, `use_sim_time` too; `cleanup` first. A name that does not exist is an error. How \
entries, outputs and topics are written stands in [Your robot](robot.md), what the limits do in \
[What keeps the arm safe](safety.md).
"""


def page() -> str:
    """The page, Markdown."""
    limits = [(f'{PREFIX}JOINT.{name}', row) for name, row in ROWS.items()]
    rows = [(row.name, row) for row in PARAMETERS.values()]
    return '\n'.join([
        _HEAD,
        _table('parameter', rows),
        '\n## Of each joint of the action\n\nIn the units of the robot. `JOINT` is its name, or '
        '`SOURCE/JOINT` where two sources have a joint of the same name.\n',
        _table('limit', limits),
        '',
    ])  # fmt: skip


def _table(head: str, rows: list[tuple[str, Parameter]]) -> str:
    lines = [f'| {head} | type | default | range | meaning |', '|---|---|---|---|---|']
    return '\n'.join([*lines, *(_row(name, row) for name, row in rows)])


def _row(name: str, row: Parameter) -> str:
    kind = _TYPES[row.type]
    kind = f'list of {kind}' if row.is_list else kind
    return f'| `{name}` | {kind} | {_default(row)} | {_range(row)} | {_meaning(row)} |'


def _default(row: Parameter) -> str:
    value = row.default
    if value is None or value == ():
        return '–'
    if isinstance(value, tuple):
        return f'`[{", ".join(map(_scalar, value))}]`'
    return 'empty' if value == '' else f'`{_scalar(value)}`'


def _range(row: Parameter) -> str:
    if row.choices:
        return ', '.join(f'`{choice}`' for choice in row.choices)
    span = f'{row.range[0]:g} to {row.range[1]:g}' if row.range else ''
    return f'{span} {row.unit}'.strip()


def _scalar(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _meaning(row: Parameter) -> str:
    text = row.text.replace('|', '\\|').replace('<', '&lt;')
    return f'{text}; **live**' if row.live else text
