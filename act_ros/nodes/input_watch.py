"""What the node says of its inputs once a second."""

import logging
from collections.abc import Mapping

from act_ros.errors import ActError
from act_ros.nodes.controller import Controller
from act_ros.nodes.wiring import Wiring
from act_ros.topics import with_cause

log = logging.getLogger(__name__)


class InputsError(ActError):
    """Inputs are missing or wrong.

    :param faults: by input.
    :param causes: what the graph says of each.
    :ivar causes: as items; what else is said of them changes from second to second.
    """

    def __init__(self, faults: Mapping[str, str], causes: Mapping[str, str]) -> None:
        super().__init__('; '.join(with_cause(text, causes[n]) for n, text in faults.items()))
        self.causes = frozenset(causes.items())


class InputWatch:
    """Looks for the causes of what is wrong with the inputs, and logs each once.

    What the tick says of an input lacks its cause: it has no time to look at the graph.
    """

    def __init__(self) -> None:
        self._explained: set[str] = set()  # inputs whose condition is still the same
        self._remarks: set[str] = set()

    def look(
        self, wiring: Wiring | None, controller: Controller | None, now: int
    ) -> dict[str, str]:
        """What is wrong with each input and why, by name.

        :param wiring: None while unconfigured.
        :param controller: None while inactive: then no condition has been logged.
        :param now: on the node's clock [ns].
        """
        if wiring is None:
            return {}
        faults = wiring.input_faults(now)
        causes = wiring.causes(faults)
        texts = {name: with_cause(text, causes[name]) for name, text in faults.items()}
        begun = set() if controller is None else controller.faults.begun
        for name in (begun & texts.keys()) - self._explained:
            log.warning('%s', texts[name])
        self._explained = begun & (self._explained | texts.keys())
        for text in set(wiring.store.remarks()) - self._remarks:
            self._remarks.add(text)
            log.warning('%s', text)
        return texts
