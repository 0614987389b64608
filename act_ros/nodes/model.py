"""Where the node's policy comes from: a checkpoint, or a server at the end of a line."""

from act_ros.errors import ParameterError
from act_ros.parameters import Settings
from act_ros.policy import PolicyProcess, as_played, query_interval, tell_played
from act_ros.policy.interface import check_task, load_options, remote_options
from act_ros.policy.process import REMOTE
from act_ros.task import Task


def begin(settings: Settings, load: str) -> PolicyProcess:
    """The process that has the policy, or the line to it: beside that of the tick in either case.

    :param load: 'module:function' that loads one from a checkpoint.
    :raises ParameterError: parameters that contradict each other.
    """
    if not settings.policy_endpoint:
        return PolicyProcess(load, torch_threads=settings.torch_threads)
    if settings.zmq_endpoint:
        raise ParameterError(
            f'zmq_endpoint is {settings.zmq_endpoint}, but the policy is that of policy_endpoint '
            f'{settings.policy_endpoint}: let clients ask there, and leave zmq_endpoint empty'
        )
    return PolicyProcess(REMOTE, torch_threads=None)


def load(policy: PolicyProcess, settings: Settings, task: Task) -> None:
    """Load it; what is loaded here is run once, for a first pass is slow.

    :raises ActError: there is none, or it does not fit the robot.
    """
    if settings.policy_endpoint:
        # An answer that takes longer is of no use: the commands have ended by then.
        timeout = settings.command_timeout
        policy.load(
            settings.policy_endpoint, task=task, timeout=timeout, hold=timeout, live=True,
            **remote_options(settings),
        )  # fmt: skip
    else:
        policy.load(settings.ckpt_dir, task=task, **load_options(settings))
        check_task(task, policy.task)
        policy.warm_up()
    query_interval(policy.chunk_size, as_played(settings, policy).blending)
    tell_played(settings, policy)
