"""The task files shipped with this package, and how a task is found by name."""

from pathlib import Path

from act_ros.errors import TaskError
from act_ros.parameter_file import read_parameter_file
from act_ros.task import Task

CONFIG_DIR = Path(__file__).parent
DEFAULT_TASK = 'astrobench_dual_arm'
TASKS = ('astrobench_dual_arm',)


def task_file(name: str) -> Path:
    """The parameter file of a task.

    :param name: the name of a shipped task, or the path of a YAML file.
    :raises TaskError: naming what was asked for and the tasks there are.
    """
    if name.endswith(('.yaml', '.yml')):
        return Path(name)
    if name not in TASKS:
        raise TaskError(
            f'unknown task {name!r}; shipped: {", ".join(TASKS)}; or give the path of a .yaml'
        )
    return CONFIG_DIR / f'{name}.yaml'


def parameter_files(*paths: str | Path) -> list[Path]:
    """The files that make a node's parameters, later ones over earlier ones.

    :param paths: a user's files; where they describe no task of their own, they count over the
        default task's, as in the launch files.
    :raises ParameterError: one cannot be read.
    """
    own = [Path(path) for path in paths]
    if own and read_parameter_file(*own).task_cameras:
        return own
    return [task_file(DEFAULT_TASK), *own]


def load_task(name: str = DEFAULT_TASK) -> Task:
    """Load a task by name or path.

    :raises ActError: one line that names the file and what is wrong with it.
    """
    return Task.from_settings(read_parameter_file(task_file(name)))
