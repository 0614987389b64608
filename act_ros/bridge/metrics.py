"""How a server is doing, for Prometheus: HTTP on a port of its own."""

import contextlib
import itertools
import socket
import threading
from collections.abc import Callable, Iterator, Mapping
from http.server import BaseHTTPRequestHandler
from typing import Any

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Metric, generate_latest
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
)
from prometheus_client.registry import Collector

from act_ros.bridge.info import STATES, Health, Times
from act_ros.errors import ActError

PREFIX = 'act_ros_zmq_'
PATIENCE = 2.0  # with whoever asks and then is slow [s]
_PAUSE = 1.0  # where the system has no room for another connection [s]

Info = Callable[[], Mapping[str, Any] | None]


class Metrics:
    """Tells whoever asks how a server is doing, one after the other, in a thread of its own.

    What is told is a copy: the server waits for nobody.

    :param health: how it is doing.
    :param info: what its policy is, as in docs/zmq.md; None while it loads.
    :param host: an address of this machine.
    :ivar url: where to ask.
    :raises ActError: it cannot listen there.
    """

    def __init__(self, health: Callable[[], Health], info: Info, host: str, port: int) -> None:
        self._registry = CollectorRegistry()
        self._registry.register(_Collector(health, info))
        family = socket.AF_INET6 if ':' in host else socket.AF_INET
        try:
            self._listening = socket.create_server((host, port), family=family)
        except OSError as error:
            raise ActError(
                f'the metrics cannot be served on {host}, port {port}: {error.strerror}; choose '
                f'another port with --metrics-port or zmq_metrics_port'
            ) from None
        shown = f'[{host}]' if ':' in host else host
        self.url = f'http://{shown}:{self._listening.getsockname()[1]}/metrics'
        self._closed = threading.Event()
        threading.Thread(target=self._serve, name='zmq metrics', daemon=True).start()

    def text(self) -> bytes:
        """All of it, as Prometheus reads it."""
        return generate_latest(self._registry)

    def close(self) -> None:
        """Free the port; who is being told now may be cut off."""
        self._closed.set()
        with contextlib.suppress(OSError):
            self._listening.shutdown(socket.SHUT_RDWR)  # which wakes the thread
        self._listening.close()

    def _serve(self) -> None:
        while not self._closed.is_set():
            try:
                connection, address = self._listening.accept()
            except OSError:
                self._closed.wait(_PAUSE)
                continue
            with connection, contextlib.suppress(OSError):
                _Handler(connection, address, self)  # type: ignore[arg-type]  # no HTTPServer


class _Handler(BaseHTTPRequestHandler):
    timeout = PATIENCE
    server: Metrics  # type: ignore[assignment]

    def do_GET(self) -> None:
        if self.path.partition('?')[0] not in ('/', '/metrics'):
            self.send_error(404, explain='/metrics is here')
            return
        text = self.server.text()
        self.send_response(200)
        self.send_header('Content-Type', CONTENT_TYPE_LATEST)
        self.send_header('Content-Length', str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, format: str, *arguments: object) -> None:
        """Log nothing: it is asked every few seconds."""


class _Collector(Collector):
    def __init__(self, health: Callable[[], Health], info: Info) -> None:
        self._health, self._info = health, info

    def collect(self) -> Iterator[Metric]:
        """All that there is to tell, as it is now."""
        yield from _health(self._health())
        info = self._info()
        if info is not None:
            yield from _policy(info)


def _health(health: Health) -> Iterator[Metric]:
    yield _gauges(
        'state', 'What the server is doing', 'state',
        {state: state == health.state for state in STATES},
    )  # fmt: skip
    for name, value, text in (
        ('uptime_seconds', health.uptime, 'Since the start'),
        ('sessions', health.sessions, 'Episodes that there are'),
        ('waiting_requests', health.waiting, 'Requests that wait for their pass'),
        ('connections', health.connections, 'Connections open now'),
        ('memory_bytes', health.memory, 'Messages unfinished or waiting, and replies not taken'),
    ):
        yield GaugeMetricFamily(PREFIX + name, text, value=value)
    yield CounterMetricFamily(
        PREFIX + 'connections_accepted', 'Connections since the start', value=health.accepted
    )
    for name, counts, label, text in (
        ('connections_closed', health.closed, 'reason', 'Connections closed'),
        ('requests', health.requests, 'outcome', 'Requests answered, by the code of the error'),
        ('passes', health.batches, 'requests', 'Passes, by how many requests went through'),
    ):
        yield _counters(name, text, label, counts)
    yield _histogram('queue_seconds', 'How long requests waited for their pass', health.queue)
    yield _histogram('inference_seconds', "How long a request's pass took", health.inference)


def _policy(info: Mapping[str, Any]) -> Iterator[Metric]:
    checkpoint = info.get('checkpoint', {})
    told = {
        'protocol': info['protocol'],
        'version': info['version'],
        'task': info['task']['name'],
        'cameras': ','.join(f'{name}:{h}x{w}' for name, (h, w) in info['task']['cameras'].items()),
        **{name: info[name] for name in ('state_dim', 'action_dim', 'chunk_size', 'rate')},
        'checkpoint': checkpoint.get('name', ''),
        'sha256': checkpoint.get('sha256', ''),
        **{name: info.get(name, '') for name in ('engine', 'precision', 'device')},
    }
    labels = {name: str(value) for name, value in told.items()}
    yield InfoMetricFamily(PREFIX + 'policy', 'What is served', value=labels)
    if info.get('deviation') is not None:
        text = 'Largest difference from float32 of a normalised action, as measured at the load'
        yield GaugeMetricFamily(PREFIX + 'policy_deviation', text, value=info['deviation'])


def _gauges(name: str, text: str, label: str, values: Mapping[str, float]) -> Metric:
    family = GaugeMetricFamily(PREFIX + name, text, labels=[label])
    for key, value in values.items():
        family.add_metric([key], value)
    return family


def _counters(name: str, text: str, label: str, counts: Mapping[Any, int]) -> Metric:
    family = CounterMetricFamily(PREFIX + name, text, labels=[label])
    for key, count in counts.items():
        family.add_metric([str(key)], count)
    return family


def _histogram(name: str, text: str, times: Times) -> Metric:
    bounds = [*map(str, Times.BOUNDS), '+Inf']
    buckets = list(zip(bounds, itertools.accumulate(times.counts), strict=True))
    return HistogramMetricFamily(PREFIX + name, text, buckets=buckets, sum_value=times.total)
