"""The newest value of every joint of a source, whoever sends it."""

import math
import threading
from collections.abc import Hashable, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

from act_ros.observation.arrival import Ageing, Arrival, Lateness
from act_ros.observation.joints import NAN, Reading, listed
from act_ros.observation.senders import Senders
from act_ros.task import Entry

SECOND = 1_000_000_000  # [ns]
# A value that jumps there and back so often, each time within a second of the last, is two.
JUMPS = 4
TURN = 2 * math.pi


class Reader(Protocol):
    """Reads the entries of one source out of its messages."""

    def read(self, message: Any) -> Reading: ...
    def missing(self, slots: Sequence[int]) -> str: ...


class _Held(NamedTuple):
    """What is known of a source: of each entry the newest value, and what brought it.

    :ivar wrong: place to why its value means nothing.
    """

    values: list[float]
    arrivals: list[Arrival | None]
    wrong: Mapping[int, str]


class Look(NamedTuple):
    """What some entries are at one instant.

    :ivar values: robot units.
    :ivar stamp: that the oldest one's age counts from [ns].
    :ivar fault: why they cannot be used, or ''.
    """

    values: list[float]
    stamp: int
    fault: str


class StateInput:
    """Keeps the newest value of every entry of a source.

    Several publishers may share its topic, each with joints of its own: every value has the
    age of the message that brought it. What is known is replaced as one object: whoever looks
    needs no lock, whoever puts has one.

    :param source: its name.
    :param entries: whose values are wanted, each once.
    :param reader: of its messages.
    :param ageing: when it is too old.
    :param steps: furthest that each entry may be sent in a step; infinite where that is unknown.
    :param period: of a step [ns].
    :ivar remarks: what was assumed, and what looks wrong but may not be; by what it is about.
    """

    def __init__(
        self,
        source: str,
        entries: Sequence[Entry],
        reader: Reader,
        ageing: Ageing,
        steps: Sequence[float],
        period: int,
    ) -> None:
        self._source, self._entries, self._reader = source, entries, reader
        self._ageing, self._steps, self._period = ageing, steps, period
        self._held = _Held([NAN] * len(entries), [None] * len(entries), {})
        self.remarks: dict[str, str] = {}
        # For those that put:
        self._lock = threading.Lock()
        self._before = [NAN] * len(entries)  # the values before the newest
        self._publishers = Senders(ageing.window)
        self._layouts = Senders(ageing.window)
        self._doubtful = 0  # entries that have been remarked on for it
        self._backward = _Repeatedly()
        self._jumps = [_Repeatedly() for _ in entries]
        self._between = [(NAN, NAN)] * len(entries)  # what each jumped between last

    def put(self, message: Any, receipt: int, publisher: Hashable = None) -> bool:
        """Take in a message; of each entry in it the newest value wins.

        :param receipt: when it arrived [ns].
        :param publisher: tells publishers apart; None where they are not known.
        :returns: whether it holds anything that is wanted.
        """
        reading = self._reader.read(message)
        if not reading.slots:
            return False
        arrival = self._ageing.arrival(message, receipt)
        with self._lock:
            if publisher is not None:
                self._publishers.hear(publisher, reading.slots, receipt)
            else:
                self._layouts.hear(reading.layout, reading.slots, receipt)
            backward = self._take(reading, arrival)
            if reading.remark or backward or not arrival.header or self._layouts.contested:
                self._remark(reading, arrival, backward)
        return True

    def look(self, slots: Sequence[int], now: int) -> Look:
        """What some entries are.

        :param slots: their places.
        :param now: in the clock of the stamps [ns].
        """
        held = self._held
        values = [held.values[i] for i in slots]
        arrivals = [arrival for i in slots if (arrival := held.arrivals[i]) is not None]
        if len(arrivals) < len(slots):
            lacking = [i for i in slots if held.arrivals[i] is None]
            return Look(values, 0, self._reader.missing(lacking))
        stamp = min(arrival.stamp for arrival in arrivals)
        fault = self._late(slots, arrivals, now) or self._torn(slots, now)
        if not fault and not all(map(math.isfinite, values)):
            fault = self._wrong(slots, held)
        return Look(values, stamp, fault)

    def stamp(self) -> int | None:
        """That the oldest entry's age counts from [ns]; None where one has not arrived."""
        arrivals = self._held.arrivals
        stamps = [arrival.stamp for arrival in arrivals if arrival is not None]
        return min(stamps) if len(stamps) == len(arrivals) else None

    # --- what is put -----------------------------------------------------------------------

    def _take(self, reading: Reading, arrival: Arrival) -> bool:
        """Take the values of a message; whether it is stamped before one that it follows."""
        held, before, steps = self._held, self._before, self._steps
        values, arrivals = list(held.values), list(held.arrivals)
        header, taken, backward = arrival.header, [], False
        old: Arrival | None = None
        again: Arrival | None = None
        for slot, value in zip(reading.slots, reading.values, strict=True):
            last, known = arrivals[slot], values[slot]
            if last is not None:
                if header and header == last.header:
                    # Nothing new has been measured, so it goes on ageing.
                    if last is not old:
                        old, again = last, last.again(arrival.receipt)
                    arrivals[slot] = again
                    continue
                backward = backward or 0 < header < last.header
                if abs(value - known) > steps[slot]:
                    self._note_jump(slot, value, last, arrival)
            before[slot] = known
            values[slot], arrivals[slot] = value, arrival
            taken.append(slot)
        wrong = held.wrong
        if wrong or reading.wrong:
            wrong = {i: text for i, text in wrong.items() if i not in taken}
            wrong |= {i: text for i, text in reading.wrong.items() if i in taken}
        self._held = _Held(values, arrivals, wrong)
        return backward

    def _note_jump(self, slot: int, value: float, last: Arrival, arrival: Arrival) -> None:
        """Count a jump from which the value comes back, faster than the joint may be sent."""
        known = self._held.values[slot]
        step = abs(value - known)
        steps = max(1.0, (arrival.receipt - last.receipt) / self._period)
        furthest = self._steps[slot] * steps
        # An encoder that stands where its turn ends jumps by a turn.
        far = step > furthest and abs(step - TURN) > furthest
        if far and abs(value - self._before[slot]) < step / 4:
            self._jumps[slot].note(arrival.receipt)
            self._between[slot] = known, value

    def _remark(self, reading: Reading, arrival: Arrival, backward: bool) -> None:
        """Say once what was assumed, and what looks like two publishers but may be one."""
        if reading.remark:
            self.remarks.setdefault('frame', reading.remark)
        if not arrival.header and self._ageing.by_header and 'stamp' not in self.remarks:
            who = self._subject(reading.slots)
            self.remarks['stamp'] = f'{who} has no header stamp: its age counts from its receipt'
        if backward:
            self._backward.note(arrival.receipt)
            if self._backward.lasting(arrival.receipt):
                who = self._subject(reading.slots)
                self.remarks.setdefault(
                    'order', f'the stamps of {who} go back and forth: do two publishers send it?'
                )
        if len(self._layouts.contested) > self._doubtful:
            self._doubtful = len(self._layouts.contested)
            who = self._subject(list(self._layouts.contested))
            self.remarks['layouts'] = (
                f'{who} comes in messages of two kinds by turns: do two publishers send it?'
            )

    # --- what is wrong ---------------------------------------------------------------------

    def _late(self, slots: Sequence[int], arrivals: Sequence[Arrival], now: int) -> str:
        """What is too old, and whose it is: the publishers of the others may be well."""
        found: dict[str, tuple[Lateness, list[int]]] = {}
        # Those of one message share its arrival: mostly there is one, or one a publisher.
        for arrival in sorted(set(arrivals), key=lambda arrival: arrival.stamp):
            late = self._ageing.lateness(arrival, now)
            if late is not None:
                places = found.setdefault(late.kind, (late, []))[1]
                places += [i for i, a in zip(slots, arrivals, strict=True) if a == arrival]
        return '; '.join(
            f'{self._subject(places, slots)} {late.text}' for late, places in found.values()
        )

    def _torn(self, slots: Sequence[int], now: int) -> str:
        """What two publishers send."""
        if contested := self._publishers.contest(slots, now):
            return (
                f'{self._subject(contested)} is sent by two publishers by turns: end one of them'
            )
        for slot in slots:
            if self._jumps[slot].lasting(now):
                one, other = self._between[slot]
                return (
                    f'{self._entries[slot]} jumps between {one:.4g} and {other:.4g} again and '
                    f'again, faster than it may be sent: do two publishers send it?'
                )
        return ''

    def _wrong(self, slots: Sequence[int], held: _Held) -> str:
        texts = [
            held.wrong.get(i) or f'{self._entries[i]} is {held.values[i]}, expected a number'
            for i in slots
            if not math.isfinite(held.values[i])
        ]
        return texts[0]

    def _subject(self, places: Sequence[int], of: Sequence[int] = ()) -> str:
        """The source, and which of its joints are meant, if not all that are asked for."""
        if len(places) == len(of or self._entries):
            return self._source
        meant = [self._entries[i] for i in sorted(places)]
        every, some = [e.name for e in self._entries], [e.name for e in meant]
        # Where a joint's velocity alone is meant, that is said.
        names = [
            e.name if some.count(e.name) == every.count(e.name) else f'{e.name} {e.quantity}'
            for e in meant
        ]
        return f'{self._source} ({listed(dict.fromkeys(names))})'


class _Repeatedly:
    """Whether something happens again and again, each time within a second of the last."""

    def __init__(self) -> None:
        self._count, self._last = 0, -(2**62)

    def note(self, now: int) -> None:
        self._count = self._count + 1 if now - self._last <= SECOND else 1
        self._last = now

    def lasting(self, now: int) -> bool:
        return self._count >= JUMPS and now - self._last <= SECOND
