"""The topics of the simulated robot, as the parameters name them."""

from dataclasses import dataclass

from act_ros.errors import ParameterError
from act_ros.interfaces import absolute, camera_inputs, state_inputs
from act_ros.nodes.outputs import parse_outputs
from act_ros.parameters import Settings
from act_ros.sim.command import command_output
from act_ros.task import Task


@dataclass(frozen=True)
class Topics:
    """Full names of the topics.

    :ivar cameras: by name.
    :ivar states: by source.
    :ivar arm: source of the states of the arm.
    :ivar base: source of those of the base; '' where the task has none.
    :ivar commands: those that the robot follows.
    :ivar outputs: all that the node commands.
    """

    cameras: dict[str, str]
    states: dict[str, str]
    arm: str
    base: str
    commands: str
    outputs: list[str]

    @classmethod
    def of(cls, settings: Settings, task: Task, namespace: str = '') -> 'Topics':
        """Those of a task; `~` is the ACT node's.

        :raises ActError: a robot with these topics cannot be simulated; says what is needed.
        """
        cameras, states = camera_inputs(settings, task), state_inputs(settings, task)
        for inputs, made in ((cameras, 'Image'), (states, 'JointState')):
            for name, (topic, kind) in inputs.items():
                if kind != made:
                    raise ParameterError(
                        f'{topic} ({name}) is of type {kind}; the simulated robot publishes '
                        f'{made} there'
                    )
        arm = task.action[0].source
        others = [source for source in states if source != arm]
        if len(others) > 1:
            raise ParameterError(
                f'the states are of {", ".join(states)}; the simulated robot has those of one arm '
                f'({arm}) and of its base: expected at most one source besides {arm} in task.state'
            )
        outputs = parse_outputs(settings.outputs, task)  # says what is wrong with a name
        return cls(
            cameras={name: absolute(topic, namespace) for name, (topic, _) in cameras.items()},
            states={name: absolute(topic, namespace) for name, (topic, _) in states.items()},
            arm=arm,
            base=others[0] if others else '',
            commands=absolute(command_output(settings, task).topic, namespace),
            outputs=[absolute(output.topic, namespace) for output in outputs],
        )

    def require_states(self) -> None:
        """For what shows the robot: it has to be seen where arm and base are.

        :raises ParameterError: the task has not both.
        """
        if not self.base or self.arm not in self.states:
            raise ParameterError(
                f'the states are of {", ".join(self.states)}; the demonstration shows an arm '
                f'({self.arm}) on a base: expected both in task.state'
            )
