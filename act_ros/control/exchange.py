"""What goes into the control loop, and what comes out of it."""

from dataclasses import dataclass

import numpy as np

from act_ros.commands import Ahead
from act_ros.observation import Snapshot


@dataclass(frozen=True)
class Veto:
    """Why no commands are allowed now.

    :ivar attended: somebody says so, and will say when they are; silence is nobody.
    """

    reason: str
    attended: bool


@dataclass(frozen=True)
class Request:
    """An observation to predict a chunk from."""

    episode: int
    step: int
    made: int  # when the observation was made, on the clock of steps [ns]
    observed: int  # the same on the watchdog's clock [ns]
    snapshot: Snapshot


@dataclass(frozen=True)
class Arrival:
    """The answer to a request: a chunk, or None where inference failed."""

    request: Request
    chunk: np.ndarray | None  # (chunk_size, action_dim), policy units


@dataclass(frozen=True)
class Command:
    """What is sent at one step.

    :ivar action: (action_dim,) before any limit, policy units; None for the stop message.
    :ivar chunk_steps: (n,) steps of the chunks it was blended from.
    :ivar values: (action_dim,) float64 within the limits, robot units.
    :ivar ahead: what follows, each within the limits, where somebody wants that.
    """

    step: int
    action: np.ndarray | None
    chunk_steps: np.ndarray
    values: np.ndarray
    ahead: Ahead | None = None
