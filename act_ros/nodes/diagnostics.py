"""What the node says of itself once a second on `/diagnostics`."""

import time
from collections.abc import Iterable

import numpy as np
from builtin_interfaces.msg import Time
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus

from act_ros.bridge.server import PolicyServer
from act_ros.nodes.controller import Controller
from act_ros.nodes.messages import key_values
from act_ros.observation import ObservationStore


class Report:
    """Makes one status a second; rates are what has come since the last.

    :param name: of the status: the node's.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._seen: dict[str, int] = {}
        self._since = time.monotonic()

    def message(
        self,
        state: str,
        store: ObservationStore | None,
        controller: Controller | None,
        server: PolicyServer | None,
        stamp: Time,
    ) -> DiagnosticArray:
        """The status of now; parts that do not exist in this state are left out."""
        values: dict[str, object] = {'state': state}
        level, text = DiagnosticStatus.OK, state
        if store is not None:
            values |= self._rates(store)
        if controller is not None:
            values |= _control(controller)
            if conditions := controller.conditions:
                level, text = DiagnosticStatus.WARN, '; '.join(conditions)
        if server is not None:
            values |= {'zmq_requests': server.requests, 'zmq_errors': server.errors}
        status = DiagnosticStatus(
            level=level, name=self._name, message=text, values=key_values(values)
        )
        message = DiagnosticArray(status=[status])
        message.header.stamp = stamp
        return message

    def _rates(self, store: ObservationStore) -> dict[str, object]:
        now, received = time.monotonic(), dict(store.received)
        seconds, before = now - self._since, self._seen
        self._since, self._seen = now, received
        # A store of another configuration counts from zero again.
        return {
            f'rate/{name}': round(max(0, count - before.get(name, 0)) / seconds, 1)
            for name, count in received.items()
        }


def _control(controller: Controller) -> dict[str, object]:
    values = {
        'ticks': controller.ticks,
        'commands': controller.published,
        'ticks_without_plan': controller.loop.ticks_without_plan,
        **_percentiles('tick_jitter', controller.jitter),
    }
    if controller.inference is not None:
        values['inferences'] = controller.inference.count
        values |= _percentiles('inference', controller.inference.durations)
    return values


def _percentiles(name: str, seconds: Iterable[float]) -> dict[str, object]:
    values = list(seconds)
    if not values:
        return {}
    p50, p99 = np.percentile(values, (50, 99)) * 1e3
    return {f'{name}_p50_ms': float(p50), f'{name}_p99_ms': float(p99)}
