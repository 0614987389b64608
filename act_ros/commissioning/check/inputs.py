"""What an inspection says of each input: rate, age, size, joints, clocks."""

from itertools import pairwise

from act_ros.commissioning.check.findings import Findings
from act_ros.commissioning.check.inspection import Heard, Inspection
from act_ros.commissioning.check.robot import Robot
from act_ros.interfaces import CAMERA_TYPES, INPUT_TYPES

OFTEN = 0.1  # share of ticks from which on a fault is no accident
STILL = 2.0  # seconds of one picture alone that are odd
SLOW = 3.0  # steps of the policy for a frame, from which on that is odd


def check_inputs(robot: Robot, inspection: Inspection, findings: Findings) -> None:
    """Tell of each input what came, and at how many ticks the node could have used it."""
    settings = robot.settings
    blamed = {finding.about for finding in findings.all if finding.verdict == 'WRONG'}
    for name, (topic, kind) in robot.inputs.items():
        heard = inspection.heard.get(topic)
        if heard is None:
            if name in blamed:  # said already, with what is there instead
                continue
            findings.wrong(name, f'{topic}, {INPUT_TYPES[kind]}: nothing came on it')
            continue
        said = f'{topic}, {INPUT_TYPES[kind]}, {_figures(heard)}'
        blame = inspection.blames.get(name)
        if not inspection.looked:
            findings.open(name, f'{said}: too little came to ask at any tick')
        elif blame is None:
            findings.fits(name, said)
        else:
            share = blame.ticks / inspection.looked
            text = f'{said}: at {share:.1%} of the ticks: {blame.first}'
            (findings.wrong if share > OFTEN else findings.doubt)(name, text)
        if damage := inspection.damaged.get(name):
            findings.wrong(name, damage)
        _check_time(name, heard, robot, findings)
        if kind in CAMERA_TYPES:
            _check_pictures(name, heard, robot, findings)
    if inspection.looked and not inspection.states:
        findings.wrong('inputs', f'there is no complete observation in {inspection.looked} ticks')
    elif inspection.looked:
        share = len(inspection.states) / inspection.looked
        text = f'{share:.1%} of {inspection.looked} ticks have a complete observation'
        (findings.fits if share > 1 - OFTEN else findings.wrong)('inputs', text)
    if settings.stamp_source == 'receipt':
        findings.open('inputs', 'ages count from receipts: how old what is sent is, is not seen')


def _figures(heard: Heard) -> str:
    parts = [heard.content, f'{heard.rate:.1f} Hz']
    if heard.delay is not None:
        parts.append(f'{heard.delay * 1e3:.0f} ms old when it comes')
    return ', '.join(filter(None, parts))


def _check_time(name: str, heard: Heard, robot: Robot, findings: Findings) -> None:
    """Rates and clocks that the ticks alone do not explain."""
    max_age, rate = robot.settings.max_age, heard.rate
    if rate and rate * max_age < 1:
        findings.wrong(
            name,
            f'comes {rate:.3g} times a second, so that it is up to {1 / rate:.3g} s old, but '
            f'max_age is {max_age:g} s: let it come more often, or raise max_age',
        )
    if len(heard.receipts) == 1:
        findings.doubt(name, 'came once only')
    stamps = [stamp for stamp in heard.stamps if stamp]
    if any(after < before for before, after in pairwise(stamps)):
        findings.doubt(name, 'has stamps that go back: do two publishers send it?')


def _check_pictures(name: str, heard: Heard, robot: Robot, findings: Findings) -> None:
    seconds = (heard.receipts[-1] - heard.receipts[0]) / 1e9
    if seconds > STILL and len(heard.pictures) == 1:
        findings.doubt(name, f'shows one and the same picture for {seconds:.0f} s: is it frozen?')
    if 0 < heard.rate * SLOW < robot.task.rate:
        findings.doubt(
            name,
            f'comes {heard.rate:.3g} times a second, and the policy makes {robot.task.rate:g} '
            f'steps: was it trained with so few frames?',
        )
