"""A ROS graph of one's own, for programs that play a robot: no real one may hear them.

Three fences, one behind the other. The domain is on this machine only. It is one that nobody
else on this machine is in: other runs are kept out by a lock, other programs are found by the
ports that their middleware listens on. And every name in it, of nodes, topics and services, is
under a namespace that is used once, so that whoever does come into the domain later hears
nothing that is meant for a robot.
"""

import contextlib
import os
import secrets
import socket
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from act_ros.errors import ActError
from act_ros.interfaces import output_topic
from act_ros.nodes.dds import keep_to_this_host
from act_ros.parameter_file import write_parameter_file
from act_ros.parameters.qos import OVERRIDES

# Their ports lie above those that Linux hands out by itself (32768 to 60999), as those of the
# domains 0 to 101 lie below; hardly anybody sets a robot to one of these. Cyclone DDS knows none
# above 230.
DOMAINS = range(215, 231)
FIRST_PORT, PORTS = 7400, 250  # of domain 0, and a domain
# These keep to this machine where they are told to.
CONFINED = ('rmw_fastrtps_cpp', 'rmw_fastrtps_dynamic_cpp', 'rmw_cyclonedds_cpp')
TOPIC_PARAMETERS = ('camera_topics', 'state_topics', 'enable_topic')
# Names that a node has whatever its parameters say.
GLOBAL_TOPICS = ('/clock', '/diagnostics')


@dataclass(frozen=True)
class OwnGraph:
    """A graph that nobody else is in.

    :ivar domain: its ROS domain, on this machine only.
    :ivar namespace: under which all of its names are, used once.
    """

    domain: int
    namespace: str

    def inside(self, topic: str) -> str:
        """The full name here of a topic that parameters or a bag name, relative or absolute."""
        return f'{self.namespace}/{topic.lstrip("/")}'

    def arguments(self, values: Mapping[str, object], file: Path) -> list[str]:
        """What a program with these parameters is started with to be in this graph.

        :param values: the parameters by their flat names, as parameter files give them.
        :param file: is written: parameters go by a file, which nobody can misread.
        """
        names = dict.fromkeys((*GLOBAL_TOPICS, *_absolute_topics(values)))
        remap = [f'__ns:={self.namespace}', *(f'{name}:={self.inside(name)}' for name in names)]
        here = {self._override(name): value for name, value in values.items()}
        write_parameter_file(here, file)
        rules = [word for rule in remap for word in ('-r', rule)]
        return ['--ros-args', '--params-file', str(file.resolve()), *rules]

    def _override(self, name: str) -> str:
        """A parameter's name; one of a topic's QoS says the topic's name."""
        topic = name.removeprefix(OVERRIDES)
        return name if topic == name else f'{OVERRIDES}{self.inside(topic)}'


@contextlib.contextmanager
def own_graph(program: str) -> Iterator[OwnGraph]:
    """Take a domain for this process and its children; free for others at the end.

    To be entered before rclpy is imported. The environment says so meanwhile.

    :param program: for the namespace.
    :raises ActError: the middleware cannot be confined, or no domain is free.
    """
    namespace = f'/{program}_{os.getpid()}_{secrets.token_hex(3)}'
    theirs = dict(os.environ)
    try:
        _use_default_middleware()
        with _free_domain(theirs.get('ROS_DOMAIN_ID', '')) as domain:
            keep_to_this_host(domain)
            yield OwnGraph(domain, namespace)
    finally:
        os.environ.clear()
        os.environ.update(theirs)


@contextlib.contextmanager
def _free_domain(theirs: str) -> Iterator[int]:
    """Lock a domain that nobody on this machine is in.

    :param theirs: that of the user's shell.
    """
    taken = []
    for domain in DOMAINS:
        with socket.socket(socket.AF_UNIX) as lock:
            try:
                # In the abstract namespace: it ends with the process, and it is seen as far as
                # the ports of this machine's domains are.
                lock.bind(f'\0act_ros/ros_domain/{domain}')
            except OSError:
                taken.append(f'{domain} by another run')
                continue
            if theirs.strip() == str(domain):
                taken.append(f'{domain} by this shell')
            elif port := listening(domain):
                taken.append(f'{domain} by the program with UDP port {port}')
            else:
                yield domain
                return
    raise ActError(f'no free ROS domain: {"; ".join(taken)}; end what you do not need')


def _use_default_middleware() -> None:
    """Leave the user's choice of a middleware: it may be one that spans the network.

    :raises ActError: the default one does as well.
    """
    os.environ.pop('RMW_IMPLEMENTATION', None)
    os.environ.pop('RCL_ASSERT_RMW_ID_MATCHES', None)
    from rclpy.utilities import get_rmw_implementation_identifier

    os.environ['RMW_IMPLEMENTATION'] = name = get_rmw_implementation_identifier()
    if name not in CONFINED:
        raise ActError(
            f'the middleware of this ROS is {name}, which cannot be kept to this machine; this '
            f'needs one of {", ".join(CONFINED)}'
        )


def listening(domain: int) -> int | None:
    """A UDP port of a domain that a program on this machine listens on; None where none does.

    Asking the graph instead would take more than 3 s: on a busy machine a participant is found
    no sooner than it announces itself again.
    """
    first = FIRST_PORT + PORTS * domain
    for table in Path('/proc/net').glob('udp*'):
        for line in table.read_text().splitlines()[1:]:
            port = int(line.split()[1].rpartition(':')[2], 16)
            if first <= port < first + PORTS:
                return port
    return None


def _absolute_topics(values: Mapping[str, object]) -> Iterator[str]:
    """The absolute names among the topics that parameters name.

    :raises ParameterError: an output cannot be read.
    """
    topics = [text.strip() for name in TOPIC_PARAMETERS for text in _texts(values, name)]
    # As the node reads them: in quotes, too.
    topics += [output_topic(text) for text in _texts(values, 'outputs')]
    topics += [f'{camera}/image_raw' for camera in _texts(values, 'task.cameras')]
    yield from (topic for topic in topics if topic.startswith('/'))


def _texts(values: Mapping[str, object], name: str) -> list[str]:
    """A parameter's text, or its texts."""
    given = values.get(name)
    return [text for text in (given if isinstance(given, list) else [given])
            if isinstance(text, str)]  # fmt: skip
