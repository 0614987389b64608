"""Who sends what: two publishers of the same thing are a mistake, however they take turns."""

from collections.abc import Hashable, Iterable

# An input has a few publishers; a hostile one may look like ever new ones.
MANY = 100
_NEVER = -(2**62)


class _Sender:
    """One publisher of an input, or what looks like one."""

    def __init__(self) -> None:
        self.slots: object = None  # of its last message
        self.held: set[int] = set()  # of any message
        self.seen = _NEVER  # its last message [ns]
        self.ousted = False  # another one has sent one of them since


class Senders:
    """Knows which parts of an input come from two publishers by turns.

    A publisher that takes over for good, as a restarted driver does, is none of these: one has
    to come back to what another has sent meanwhile.

    :param window: within which it has to come back [ns].
    :ivar contested: part to the receipt of the newest message that took it back.
    """

    def __init__(self, window: int) -> None:
        self._window = window
        self._senders: dict[Hashable, _Sender] = {}
        self._owners: dict[int, _Sender] = {}
        self.contested: dict[int, int] = {}

    def hear(self, key: Hashable, slots: Iterable[int], receipt: int) -> None:
        """Take in that a publisher has sent some parts.

        :param key: tells publishers apart.
        :param slots: the parts; the same object again where they are the same again.
        :param receipt: when it came [ns].
        """
        sender = self._senders.get(key)
        if sender is None:
            if len(self._senders) == MANY:
                self._senders.clear()
            sender = self._senders[key] = _Sender()
        if sender.slots is slots and not sender.ousted:
            sender.seen = receipt
            return
        returns = receipt - sender.seen <= self._window
        for slot in slots:
            owner = self._owners.get(slot)
            if owner is sender:
                continue
            self._owners[slot] = sender
            if owner is not None:
                owner.ousted = True
                if returns and slot in sender.held:
                    self.contested[slot] = receipt
        sender.held.update(slots)
        sender.slots, sender.seen, sender.ousted = slots, receipt, False

    def contest(self, slots: Iterable[int], now: int) -> list[int]:
        """Those of some parts that two publishers send at `now` [ns]."""
        contested = self.contested
        if not contested:
            return []
        return [s for s in slots if now - contested.get(s, _NEVER) <= self._window]
