"""What the node says of itself once a second on `/diagnostics`."""

import time
from collections.abc import Iterable, Mapping

import numpy as np
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from rclpy.time import Time

from act_ros.bridge.process import EndpointProcess
from act_ros.control import MotionMeter
from act_ros.nodes import logs
from act_ros.nodes.controller import Controller
from act_ros.nodes.messages import key_values
from act_ros.nodes.wiring import Wiring
from act_ros.observation import ObservationStore

OK, WARN, ERROR, STALE = (
    DiagnosticStatus.OK,
    DiagnosticStatus.WARN,
    DiagnosticStatus.ERROR,
    DiagnosticStatus.STALE,
)


AGAIN = 'deactivate, clean up and configure again'


class Report:
    """Makes the statuses of one second; rates are what has come since the last.

    Levels as REP-107 has them: WARN where something is wrong but the node goes on by itself,
    ERROR where a person has to act, STALE where inputs have ceased to come.

    :param name: of the node, before the name of each status.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._seen: dict[str, int] = {}
        self._since = time.monotonic()

    def message(
        self,
        state: str,
        failure: str,
        wiring: Wiring | None,
        controller: Controller | None,
        server: EndpointProcess | None,
        now: int,
        input_faults: Mapping[str, str],
    ) -> DiagnosticArray:
        """The statuses of now; parts that do not exist in this state are left out.

        :param state: of the lifecycle.
        :param failure: why the last transition failed, or ''.
        :param now: on the node's clock [ns].
        :param input_faults: what is wrong with each input.
        """
        statuses = [self._control(state, failure, wiring, controller)]
        if wiring is not None:
            statuses.append(self._inputs(wiring.store, now, input_faults))
        if controller is not None:
            statuses.append(self._inference(controller))
        if server is not None:
            counts = {f'zmq_{name}': count for name, count in server.counts.items()}
            values = {**counts, 'zmq_restarts': server.restarts}
            level, text = (WARN, fault) if (fault := server.fault) else (
                OK, f'serving {server.endpoint}'
            )
            statuses.append(self._status('zmq', level, text, values))
        message = DiagnosticArray(status=statuses)
        message.header.stamp = Time(nanoseconds=now).to_msg()
        return message

    def _inference(self, controller: Controller) -> DiagnosticStatus:
        inference = controller.inference
        values: dict[str, object] = {
            'inferences': inference.count,
            'running_s': inference.busy,
        }
        values |= _percentiles('inference', inference.durations)
        if not inference.alive:
            text = f'the inference thread has ended: {AGAIN}'
            return self._status('inference', ERROR, text, values)
        faults = '; '.join(controller.inference_faults.current.values())
        return self._status('inference', WARN if faults else OK, faults or 'running', values)

    def _control(
        self,
        state: str,
        failure: str,
        wiring: Wiring | None,
        controller: Controller | None,
    ) -> DiagnosticStatus:
        found = [] if controller is None else controller.conditions()
        if wiring is not None:
            found += [(WARN, text) for text in wiring.faults().values()]
        if failure:
            found.append((ERROR, failure))
        values: dict[str, object] = {'state': state}
        if controller is not None:
            values |= _control_values(controller)
        level = max((level for level, _ in found), default=OK)
        text = '; '.join(text for _, text in found) or state
        return self._status('control', level, text, values)

    def _inputs(
        self, store: ObservationStore, now: int, faults: Mapping[str, str]
    ) -> DiagnosticStatus:
        ages = store.ages(now)
        values: dict[str, object] = {
            f'age/{name}': 'none' if age is None else float(age) for name, age in ages.items()
        }
        values |= self._rates(store)
        if not faults:
            return self._status('inputs', OK, 'all inputs are fresh', values)
        ceased = any(age is None or age > store.max_age for age in ages.values())
        level = STALE if ceased else WARN
        return self._status('inputs', level, '; '.join(faults.values()), values)

    def _rates(self, store: ObservationStore) -> dict[str, object]:
        now, received = time.monotonic(), dict(store.received)
        seconds, before = now - self._since, self._seen
        self._since, self._seen = now, received
        # A store of another configuration counts from zero again.
        return {
            f'rate/{name}': round(max(0, count - before.get(name, 0)) / seconds, 1)
            for name, count in received.items()
        }

    def _status(
        self, part: str, level: bytes, text: str, values: Mapping[str, object]
    ) -> DiagnosticStatus:
        return DiagnosticStatus(
            level=level,
            name=f'{self._name}: {part}',
            message=text,
            hardware_id='act',
            values=key_values(values),
        )


def _control_values(controller: Controller) -> dict[str, object]:
    loop = controller.loop
    return {
        'control': loop.state.value,
        'episode': loop.episode,
        'last_stop': loop.status.last,
        'ticks': controller.ticks,
        'tick_age_s': 'none' if (age := controller.ticker.age) is None else age,
        'tick_overruns': controller.ticker.missed,
        'commands': controller.published,
        'command_rate_hz': controller.rate,
        'ticks_without_plan': loop.ticks_without_plan,
        'aggregation_depth': controller.depth,
        'chunks_dropped': loop.chunks_dropped,
        'chunks_late': loop.plan.late,
        'log_lines_dropped': logs.dropped(),
        **_motion(loop.motion),
        **_percentiles('tick_jitter', controller.jitter),
        **{
            f'limit/{kind}/{entry}': count
            for kind, counts in loop.limiter.hits.items()
            for entry, count in counts.items()
            if count
        },
    }


def _motion(motion: MotionMeter) -> dict[str, object]:
    values: dict[str, object] = {}
    for name, (value, entry) in motion.worst().items():
        values |= {name: value, f'{name}_entry': str(entry)}
    return values


def _percentiles(name: str, seconds: Iterable[float]) -> dict[str, object]:
    values = list(seconds)
    if not values:
        return {}
    p50, p99 = np.percentile(values, (50, 99)) * 1e3
    return {f'{name}_p50_ms': float(p50), f'{name}_p99_ms': float(p99)}
