"""One episode and checkpoint as a piece of work that any process can do."""

import importlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from act_ros.evaluation.bag import Bag, check_topics
from act_ros.evaluation.episode import EpisodeResult, EpisodeRun, Options
from act_ros.evaluation.episodes import NS, Window
from act_ros.evaluation.recorded import MESSAGE_TYPES, RecordedCommands
from act_ros.evaluation.ticks import Tick, ticks
from act_ros.interfaces import camera_inputs, parse_output, state_inputs
from act_ros.observation import ObservationStore
from act_ros.policy.interface import BatchPredictor, check_task, load_options
from act_ros.task import Task

LOAD = 'act_ros.policy:load_policy'
INPUT_TYPES = {
    'Image': 'sensor_msgs/msg/Image',
    'CompressedImage': 'sensor_msgs/msg/CompressedImage',
    'JointState': 'sensor_msgs/msg/JointState',
    'Odometry': 'nav_msgs/msg/Odometry',
}


@dataclass(frozen=True)
class Job:
    """What one worker does at a time.

    :ivar label: of the checkpoint.
    :ivar settings: the node's parameters, with the checkpoint's `ckpt_dir`.
    :ivar load: 'module:function' that loads the policy.
    :ivar namespace: that relative topics are under.
    """

    bag: Path
    window: Window
    label: str
    settings: Mapping[str, Any]
    load: str
    options: Options = field(default_factory=Options)
    namespace: str = ''

    @property
    def name(self) -> str:
        """For people, and for the file of the result."""
        return f'{self.label}, {self.bag.name}, {self.window.name}'


class Topics:
    """The topics of a robot in a bag.

    :param settings: the node's parameters.
    :param bag: names in it are absolute; those of the parameters may be relative.
    :param namespace: that relative ones are under.
    :ivar inputs: topic to the inputs that it feeds.
    :ivar outputs: topic to what commands were sent there.
    :ivar missing: topics of outputs that were not recorded.
    :raises ActError: a topic is not in the bag, or of another type.
    """

    def __init__(
        self, settings: Mapping[str, Any], task: Task, bag: Bag, namespace: str = ''
    ) -> None:
        given = {**camera_inputs(settings, task), **state_inputs(settings, task)}
        self.inputs: dict[str, list[str]] = {}
        wanted: dict[str, str] = {}
        for name, (topic, kind) in given.items():
            topic = absolute(topic, namespace)
            self.inputs.setdefault(topic, []).append(name)
            wanted[topic] = INPUT_TYPES[kind]
        check_topics(bag, wanted)
        outputs = [parse_output(text, task) for text in settings['outputs']]
        named = {absolute(spec.topic, namespace): spec for spec in outputs}
        self.outputs = {topic: spec for topic, spec in named.items() if topic in bag.topics}
        self.missing = [topic for topic in named if topic not in bag.topics]
        check_topics(bag, {t: MESSAGE_TYPES[spec.kind] for t, spec in self.outputs.items()})


def absolute(topic: str, namespace: str = '') -> str:
    """A topic as a bag names it, of a node `act` in a namespace."""
    root = '/' + namespace.strip('/') + '/' if namespace.strip('/') else '/'
    if topic.startswith('~'):
        return f'{root}act/{topic[1:].lstrip("/")}'
    return topic if topic.startswith('/') else root + topic


def before(settings: Mapping[str, Any]) -> int:
    """How much earlier than an instant its inputs may have come [ns]."""
    return round(max(1.0, settings['max_age']) * NS)


def make_store(settings: Mapping[str, Any], task: Task) -> ObservationStore:
    """The store that the node would have made."""
    return ObservationStore(
        task,
        stamp_source=settings['stamp_source'],
        max_age=settings['max_age'],
        max_skew=settings['max_skew'],
        frozen_timeout=settings['frozen_timeout'],
        kinds={name: kind for name, (_, kind) in state_inputs(settings, task).items()},
        twist_frame=settings['twist_frame'],
    )


def run_job(
    job: Job, policy: BatchPredictor, progress: Callable[[int], bool] = lambda count: True
) -> EpisodeResult:
    """Do one piece of work.

    :param policy: the job's, loaded.
    :param progress: told how many ticks are done; returns whether to go on.
    :raises ActError: the bag does not fit.
    """
    task = policy.task
    with Bag(job.bag) as bag:
        topics = Topics(job.settings, task, bag, job.namespace)
        about = {
            'bag': str(job.bag),
            'episode': job.window.name,
            'checkpoint': job.label,
            'start': job.window.start,
            'stop': job.window.stop,
            'bag_start': bag.start,
            'not_recorded': topics.missing,
        }
        commands = RecordedCommands(
            topics.outputs, task, by_header=job.settings['stamp_source'] == 'header'
        )
        found = _ticks(job, task, bag, topics, commands)
        run = EpisodeRun(policy, job.settings, job.options)
        result = run.run(found, commands, about, progress)
        if not result.about['looked'] and not result.about['interrupted']:
            result.about['empty'] = why_empty(job, task, bag, topics)
        result.about['damage'] = list(bag.damage)  # which grows while it is read
    return result


def _ticks(
    job: Job, task: Task, bag: Bag, topics: Topics, commands: RecordedCommands
) -> Iterator[Tick]:
    window = job.window
    begin = window.start - before(job.settings) if window.exact else window.start
    messages = bag.messages([*topics.inputs, *topics.outputs], begin, window.stop)
    return ticks(
        messages, topics.inputs, make_store(job.settings, task), commands, window,
        round(NS / task.rate), job.options.stride,
    )  # fmt: skip


def why_empty(job: Job, task: Task, bag: Bag, topics: Topics) -> str:
    """Why an episode had no complete observation."""
    store = make_store(job.settings, task)
    faults: dict[str, str] = {name: f'{name} has not arrived' for name in store.received}
    for topic, receipt, message in bag.messages(topics.inputs, job.window.start, job.window.stop):
        for name in topics.inputs[topic]:
            store.put(name, message, receipt)
        faults = store.snapshot(receipt)[1] or faults
    return '; '.join(faults.values())


def load(settings: Mapping[str, Any], function: str = LOAD) -> BatchPredictor:
    """Load the policy that a node with these parameters would.

    :param function: 'module:function' that does it.
    :raises ActError: as `load_policy`; or the robot's cameras are not the network's.
    """
    module, name = function.split(':')
    task = Task.from_parameters(settings)
    load_policy = getattr(importlib.import_module(module), name)
    policy = load_policy(settings['ckpt_dir'], task=task, **load_options(settings))
    check_task(task, policy.task)
    return policy
