"""What was wrong with the recorded commands, for people and in total."""

from collections.abc import Iterable, Mapping
from typing import Any

from act_ros.errors import listed

# Topic to what was found there, see `RecordedCommands.about`.
About = Mapping[str, Mapping[str, Any]]


def joined(abouts: Iterable[About]) -> dict[str, dict[str, Any]]:
    """What several episodes say of the recorded commands together."""
    total: dict[str, dict[str, Any]] = {}
    for about in abouts:
        for topic, new in about.items():
            known = total.setdefault(
                topic, {'messages': 0, 'unread': 0, 'faults': {}, 'unsaid': None}
            )
            if new['messages'] > new['unread']:
                unsaid = known['unsaid'] if known['unsaid'] is not None else new['unsaid']
                known['unsaid'] = [entry for entry in unsaid if entry in new['unsaid']]
            known['messages'] += new['messages']
            known['unread'] += new['unread']
            for cause, fault in new['faults'].items():
                same = known['faults'].setdefault(cause, {**fault, 'messages': 0})
                same['messages'] += fault['messages']
                same['alike'] &= fault['alike'] and fault['first'] == same['first']
    return {topic: {**known, 'unsaid': known['unsaid'] or []} for topic, known in total.items()}


def unreadable(*abouts: About) -> bool:
    """Whether commands were recorded, and none of them can be read."""
    known = [of for about in abouts for of in about.values() if of['messages']]
    return bool(known) and all(of['unread'] == of['messages'] for of in known)


def lines(about: About) -> list[str]:
    """What was wrong with recorded commands, one line for each topic and cause."""
    found = []
    for topic, known in about.items():
        if not known['messages']:
            found.append(f'{topic} has no message: what is sent there is not known')
        for fault in known['faults'].values():
            others = '' if fault['alike'] else ', or the like'
            found.append(
                f'{fault["messages"]} of {known["messages"]} messages of {topic} '
                f'{fault["first"]}{others}: {fault["consequence"]}'
            )
        if known['unsaid']:
            found.append(f'no message of {topic} holds {listed(known["unsaid"])}: not known')
    return found
