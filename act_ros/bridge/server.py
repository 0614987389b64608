"""The ZMQ server: requests from many clients, one policy, a reply to each request."""

import logging
import queue
import re
import secrets
import threading
import time
from dataclasses import dataclass, replace
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any

from act_ros.bridge import protocol, requests
from act_ros.bridge.events import Closed, Event, Message, Opened
from act_ros.bridge.front import Front
from act_ros.bridge.info import Figures, Health, describe
from act_ros.bridge.keys import ServerKeys
from act_ros.bridge.passes import Passes, most_at_once
from act_ros.bridge.reading import Reading
from act_ros.bridge.refusals import Refusals
from act_ros.bridge.requests import Echo, Request, RequestError
from act_ros.bridge.scheduler import STOPPING, Scheduler, Turn
from act_ros.bridge.sessions import Call, Outcome
from act_ros.errors import ActError
from act_ros.parameters import Settings
from act_ros.policy.interface import Predictor
from act_ros.policy.rollout import Episode

if TYPE_CHECKING:
    from act_ros.bridge.metrics import Metrics

log = logging.getLogger(__name__)

_GRACE = 0.5  # [s] that `stop` leaves to the pass in hand
_QUIET = 0.05  # [s] without a further request, after which nobody waits any more
_LINGER = 0.2  # [s] for clients to take their last replies
_MAX_ENVELOPE = 15  # frames of an envelope: those of proxies, and the empty one
_MAX_ADDRESS = 255  # bytes in one of them, as ZMQ itself has it

_LOOPBACK = re.compile(r'(tcp|http)://(127\.[\d.]+|localhost|\[::1\]):.*|ipc://.*')
_ADDRESS = re.compile(r'tcp://\[?(.*?)\]?:\d+')
# What is in the nature of things, and no mistake of the client's.
_LOADING = Outcome('loading', 'loading')
_UNREMARKABLE = ('loading', 'stopping', 'expired', 'replaced', 'old_step')


@dataclass(frozen=True, slots=True)
class _Return:
    """The way back to who sent a request.

    :ivar envelope: addresses of proxies, if any, and an empty frame.
    """

    peer: int
    envelope: list[memoryview]
    echo: Echo


@dataclass
class _Beginning:
    """Makes episodes of a policy, which has to be there by then, as settings say now."""

    settings: Settings
    policy: Predictor | None = None

    def __call__(self) -> Episode:
        assert self.policy is not None
        return Episode.from_settings(self.policy, self.settings)


class PolicyServer:
    """Serves a policy to any number of clients, each with an episode of its own.

    Every request gets a reply, whatever it holds. The port is open from the beginning: until
    `begin` brings a policy, requests are told 'loading'. The network has a thread of its own,
    which never waits for the policy: `stop` is answered at once to all who wait.

    :param endpoint: where to listen, e.g. `tcp://127.0.0.1:5555`.
    :param settings: those of episodes and of the endpoint count.
    :ivar endpoint: where it listens, with the port's number.
    :ivar figures: what it has done; any thread may read them.
    :ivar failure: what ended the server without `stop`; None while it serves.
    :raises ActError: the endpoint cannot be bound, or is open to the network without CURVE.
    """

    def __init__(
        self, endpoint: str = protocol.DEFAULT_ENDPOINT, settings: Settings | None = None
    ) -> None:
        settings = settings or Settings()
        self._episodes = _Beginning(settings)
        self.figures = Figures()
        self.failure: BaseException | None = None
        self._refusals = Refusals()
        self._epoch = secrets.token_hex(8)
        self._passes: Passes | None = None  # nor a policy, as long as it loads
        self._scheduler = Scheduler(
            self._episodes,
            max_sessions=settings.zmq_max_sessions,
            session_timeout=settings.zmq_session_timeout,
            max_batch=settings.zmq_max_batch,
        )
        self._stopping = False
        # One pass at a time goes to the policy's thread, None at the end, and its outcomes back.
        self._begun: SimpleQueue[list[Turn] | None] = SimpleQueue()
        self._finished: SimpleQueue[list[Outcome]] = SimpleQueue()
        self._in_hand: list[Turn] = []
        self._front = _open_front(endpoint, settings)
        self.endpoint = self._front.endpoint
        self._reading = Reading(self._front.wake)
        self._network = threading.Thread(target=self._serve, name='zmq network', daemon=True)
        self._network.start()

    @property
    def requests(self) -> int:
        """How many have been answered."""
        return self.figures.requests.total()

    @property
    def errors(self) -> int:
        """How many of them with ERROR."""
        return self.figures.errors

    def begin(self, policy: Predictor) -> None:
        """Take requests from here on, for `run` to answer.

        :raises ActError: the settings do not fit the policy.
        """
        self._episodes.policy = policy
        self._episodes()
        most = self._episodes.settings.zmq_max_batch
        self._scheduler.max_batch = min(most, most_at_once(policy))
        self._passes = Passes(policy)

    def run(self) -> None:
        """Answer requests until `stop`; this is the policy's thread.

        :raises Exception: what ended the server otherwise; also in `failure`.
        """
        try:
            while (turns := self._begun.get()) is not None:
                if not self._network.is_alive():
                    break  # nobody waits for it any more
                assert self._passes is not None  # `begin` came before
                self._finished.put(self._passes.run(turns))
                del turns  # their observations need not stay until the next pass
                self._front.wake()
        except BaseException as error:
            self.failure = error
            raise
        finally:
            self.close()
        if self.failure is not None:
            raise self.failure

    def health(self) -> Health:
        """How it is doing. For any thread."""
        counts, ready = self._front.counts, self._passes is not None
        state = 'stopping' if self._stopping else 'ready' if ready else 'loading'
        return Health.of(
            state, self.figures, counts, sessions=len(self._scheduler.sessions),
            waiting=self._scheduler.waiting, now=time.monotonic(),
        )  # fmt: skip

    def info(self) -> dict[str, Any] | None:
        """What its policy is; None while that is not there. For any thread."""
        policy = self._episodes.policy
        return None if policy is None else describe(policy, self._episodes.settings)

    def set_decay(self, decay: float) -> None:
        """Take another decay at once, in all episodes. For any thread."""
        self._episodes.settings = replace(self._episodes.settings, decay=decay)
        for session in self._scheduler.sessions:
            if session.episode is not None:
                session.episode.set_decay(decay)

    def stop(self) -> None:
        """Answer no more requests. For any thread or signal handler; returns at once.

        Those that wait get an ERROR that says so. The pass in hand has half a second left, and
        then its requests get the same. The address is free within a second, whatever the policy
        does.
        """
        self._stopping = True
        self._front.wake()

    def close(self, timeout: float | None = None) -> None:
        """Stop, and wait until the address is free.

        :param timeout: the longest wait [s]; None = as long as it takes, a second at most.
        """
        self.stop()
        self._network.join(timeout)

    # --- the network's thread

    def _serve(self) -> None:
        try:
            while not self._stopping:
                self._exchange(self._patience())
            self._take_leave()
            self._refusals.tell()
        except Exception as error:
            self.failure = error
        finally:
            self._front.close(_LINGER)
            self._reading.close()
            self._begun.put(None)

    def _patience(self) -> float | None:
        """How long there is nothing to do if nothing comes [s]."""
        due = self._refusals.tell_when_due()
        left = max(0.0, self._scheduler.next_time() - time.monotonic())
        if due is not None:
            left = min(left, due)
        return left if left < 3600 else None

    def _exchange(self, timeout: float | None) -> bool:
        """Take what has come, give turns, and send what is answered; whether anything came."""
        events = self._front.poll(timeout)
        for event in events:
            self._note(event)
        for message, request in self._reading.take():
            self._take_request(message, request)
        now = time.monotonic()
        self._finish(now)
        self._scheduler.expire(now)
        if not self._in_hand and not self._stopping:
            self._in_hand = self._scheduler.take(now)
            if self._in_hand:
                self.figures.batches[len(self._in_hand)] += 1
                self._begun.put(self._in_hand)
        for call, outcome in self._scheduler.answers():
            self._answer(call.context, outcome)
        return bool(events)

    def _take_leave(self) -> None:
        """Tell all who wait that they do so in vain, once the pass in hand has had its time."""
        self._scheduler.stop()
        deadline = time.monotonic() + _GRACE
        while (left := deadline - time.monotonic()) > 0:
            if not self._exchange(min(left, _QUIET)) and not self._in_hand:
                break
        self._scheduler.stop(self._in_hand)
        for call, outcome in self._scheduler.answers():
            self._answer(call.context, outcome)

    def _note(self, event: Event) -> None:
        if isinstance(event, Opened):
            self._scheduler.opened(event.peer, event.identity)
        elif isinstance(event, Closed):
            self._scheduler.closed(event.peer)
        elif (size := _envelope_size(event)) is None:
            log.debug('dropped a message without an envelope')
            self._front.done(event.peer)
        elif (count := len(event.frames) + event.dropped - size) != 1:
            way = _Return(event.peer, event.frames[:size], Echo('pickle', documented=True))
            text = f'the request has {count} frames, expected one pickled object'
            self._answer(way, Outcome('bad_request', text))
        else:
            self._reading.add(event)

    def _take_request(self, message: Message, request: Request | RequestError) -> None:
        way = _Return(message.peer, message.frames[:-1], request.echo)
        if isinstance(request, RequestError):
            self._answer(way, Outcome('bad_request', str(request)))
        elif request.kind == 'health':
            self._reply(way, health=self.health().as_map())
        elif self._stopping or self._passes is None:
            self._answer(way, STOPPING if self._stopping else _LOADING)
        elif request.kind == 'info':
            self._reply(way, info=self.info())
        else:
            echo = request.echo
            chunk = request.kind == 'act' and request.reply == 'chunk'
            self._scheduler.add(
                Call(
                    message.peer, 'chunk' if chunk else request.kind, message.received, request,
                    echo.session, echo.id, request.step, message.started + request.deadline, way,
                ),
                time.monotonic(),
            )  # fmt: skip

    def _finish(self, now: float) -> None:
        """Give the outcomes of the pass in hand back, if they are there."""
        try:
            outcomes = self._finished.get_nowait()
        except queue.Empty:
            return
        for turn, outcome in zip(self._in_hand, outcomes, strict=True):
            self.figures.queue.add(turn.begun - turn.call.received)
            if outcome.inference:  # else its plan had the action, or it failed
                self.figures.inference.add(outcome.inference)
            self._scheduler.finish(turn, outcome, now)
        self._in_hand = []

    def _answer(self, way: _Return, outcome: Outcome) -> None:
        if not outcome.code:
            self._reply(
                way, step=outcome.step, queue=outcome.queue, inference=outcome.inference,
                action=outcome.action, chunk=outcome.chunk,
            )  # fmt: skip
            return
        text = protocol.one_line(outcome.message)
        if outcome.code not in _UNREMARKABLE:
            self._refusals.add(text, outcome.fault)
            self.figures.error = time.monotonic(), outcome.code, text
        self.figures.requests[outcome.code] += 1
        self._send(way, requests.error(way.echo, self._epoch, outcome.code, text))

    def _reply(self, way: _Return, **results: Any) -> None:
        """Answer OK; the results are those of `requests.ok`."""
        self.figures.requests['ok'] += 1
        self._send(way, requests.ok(way.echo, self._epoch, **results))

    def _send(self, way: _Return, reply: bytes) -> None:
        self._front.send(way.peer, [*way.envelope, reply])
        self._front.done(way.peer)


def _open_front(endpoint: str, settings: Settings) -> Front:
    keys = ServerKeys.load(settings.zmq_curve_dir) if settings.zmq_curve_dir else None
    front = Front(endpoint, keys=keys)
    if keys is None and not _LOOPBACK.fullmatch(front.endpoint):
        if not settings.zmq_insecure:
            front.close()
            raise ActError(
                f'{front.endpoint} is open to the network, and whoever reaches it could ask for '
                f'actions; let only clients with a key in (--curve-dir or zmq_curve_dir, a folder '
                f'that python -m act_ros.make_keys makes), or say --insecure or zmq_insecure'
            )
        log.warning(
            '%s is open to the network and asks for no key: whoever reaches it can ask for '
            'actions and read what others send', front.endpoint,
        )  # fmt: skip
    return front


def serve_metrics(server: PolicyServer, settings: Settings) -> 'Metrics | None':
    """Tell Prometheus how a server is doing, where the settings say so.

    On this machine's own address; on the endpoint's where that may be open to all.

    :raises ActError: the port cannot be bound, or a library is missing.
    """
    if not settings.zmq_metrics_port:
        return None
    try:
        from act_ros.bridge.metrics import Metrics
    except ImportError:
        raise ActError(
            "metrics need prometheus-client, which is not installed; pip install "
            "'act_ros[metrics]' or prometheus-client"
        ) from None
    address = _ADDRESS.fullmatch(server.endpoint)
    host = address[1] if address and settings.zmq_insecure else '127.0.0.1'
    metrics = Metrics(server.health, server.info, host, settings.zmq_metrics_port)
    log.info('metrics at %s', metrics.url)
    if not _LOOPBACK.fullmatch(metrics.url):
        log.warning('%s is open to the network: whoever reaches it can read them', metrics.url)
    return metrics


def _envelope_size(message: Message) -> int | None:
    """How many frames are the envelope; None where there is none that a proxy could write."""
    frames = message.frames
    empty = next((i for i, frame in enumerate(frames) if not len(frame)), None)
    if empty is None or empty >= _MAX_ENVELOPE or empty + 1 >= len(frames):
        return None
    # What is sent back to a peer that does not read shall not fill the memory.
    short = all(len(frame) <= _MAX_ADDRESS for frame in frames[:empty])
    return empty + 1 if short else None
