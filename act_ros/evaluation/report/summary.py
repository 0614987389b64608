"""What came of an evaluation, in one sentence."""

from collections.abc import Mapping
from typing import Any

PHRASES = {
    'hold the pose': 'holding the pose',
    'mean of the recording': 'the mean of the recording',
}
BEYOND = 1000  # times better or worse; what is more says no more


def in_one_sentence(checkpoint: Mapping[str, Any], episodes: int) -> str:
    """Is it of use, would limits have cut in, and where is it worst?

    :param checkpoint: its metrics.
    :param episodes: how many there are; of several the worst one is named.
    """
    total, verdict = checkpoint['total'], checkpoint['verdict']
    said = [_use(verdict), _limited(total['limits'], total['ticks']['looked'])]
    if checkpoint['worst']:
        worst = checkpoint['worst'][0]
        where = f' of {worst["bag"]}, {worst["episode"]}' if episodes > 1 else ''
        said.append(f'worst at {worst["seconds"]:.1f} s{where}')
    text = '; '.join(said)
    return f'{text[:1].upper()}{text[1:]}.'


def _use(verdict: Mapping[str, Any]) -> str:
    """Told is the group in which it is least better than what needs no policy."""
    if not verdict['ratio']:
        return 'nothing was scored'
    group, ratio = max(verdict['ratio'].items(), key=lambda item: item[1])
    rival = PHRASES.get(verdict['rivals'][group], verdict['rivals'][group])
    among = f' in {group}' if len(verdict['ratio']) > 1 else ''
    if ratio >= 1:
        return f'does not beat {rival}{among} ({_times(ratio)} its error)'
    # With several groups it is better by more in the others.
    text = f'beats {rival} by {_times(1 / max(ratio, 1e-12))}' + (
        f' or more (least{among})' if among else ''
    )
    lost = [name for name, chunks in verdict['chunks'].items() if chunks >= 1]
    if lost:
        text += f', but its whole chunks do not beat standing still in {", ".join(lost)}'
    return text


def _limited(limits: Mapping[str, Any], ticks: int) -> str:
    if limits['refused']:
        return 'would at times not have begun, for a joint stood outside its range'
    if not limits['limited_ticks']:
        return 'would not have been limited'
    percent = 100 * limits['limited_ticks'] / ticks
    return f'would have been limited in {_percent(percent)} of ticks ({_most(limits["hits"])})'


def _most(hits: Mapping[str, Mapping[str, int]]) -> str:
    """Which entry met which limit most often."""
    kind, entry = max(
        ((kind, entry) for kind, entries in hits.items() for entry in entries),
        key=lambda at: hits[at[0]][at[1]],
    )
    return f'mostly {kind} of {entry}'


def _times(factor: float) -> str:
    return f'over {BEYOND}×' if factor > BEYOND else f'{_short(factor)}×'


def _percent(percent: float) -> str:
    return f'{percent:.0f} %' if percent >= 1 else 'less than 1 %'


def _short(factor: float) -> str:
    """Two figures, and no exponent."""
    return f'{factor:.0f}' if factor >= 9.95 else f'{factor:.1f}'
