"""Whether a policy is of use at all: does it beat what needs no policy?"""

from collections.abc import Mapping, Sequence
from typing import Any


def verdict(total: Mapping[str, Any]) -> dict[str, Any]:
    """The policy's mean absolute error beside those of the baselines.

    :param total: as `scores` gives it.
    :returns: `ratio`, by group that was scored the policy's error over the better baseline's;
        `rivals`, by group the name of that baseline; `least`, the least error of all three;
        `beats_both`, whether the policy has it in every group; `chunks`, by group the error of
        its whole chunks over that of standing still where the robot is seen; `of_use`, whether
        it beats all of these, None where nothing was scored; and `text`, that in words.
    """
    ratio: dict[str, float] = {}
    rivals: dict[str, str] = {}
    least: dict[str, float] = {}
    lost = []
    for group, own in total['groups'].items():
        others = {name: each[group]['mae'] for name, each in total['baselines'].items()}
        if own['mae'] is None or None in others.values():
            continue
        best = min(others, key=others.__getitem__)
        ratio[group], rivals[group] = _over(own['mae'], others[best]), best
        least[group] = min(own['mae'], others[best])
        if ratio[group] >= 1:
            lost.append(f'{best!r} in {group} ({ratio[group]:.3g} times its error)')
    chunks = _chunks(total)
    return {
        'of_use': not lost and all(each < 1 for each in chunks.values()) if ratio else None,
        'beats_both': not lost if ratio else None,
        'ratio': ratio,
        'rivals': rivals,
        'least': least,
        'chunks': chunks,
        'text': ' '.join([*_of_actions(ratio, lost), *_of_chunks(chunks)]),
    }


def _chunks(total: Mapping[str, Any]) -> dict[str, float]:
    """By group, the error of whole chunks over that of standing still."""
    found = {}
    for group, own in total['horizon'].items():
        standing = total['horizon_standing'][group]['mae']
        known = [
            (mine, still)
            for mine, still in zip(own['mae'], standing, strict=True)
            if mine is not None and still is not None
        ]
        if known:
            mine, still = (sum(each) for each in zip(*known, strict=True))
            found[group] = _over(mine, still)
    return found


def _over(error: float, other: float) -> float:
    return error / max(other, 1e-12)


def _of_actions(ratio: Mapping[str, float], lost: Sequence[str]) -> list[str]:
    won = ', '.join(f'{value:.2g} in {group}' for group, value in ratio.items() if value < 1)
    won = f"its error is, in parts of the better one's, {won}."
    if not ratio:
        return ['Nothing was scored.']
    if not lost:
        return [f'The policy beats both: {won}']
    said = [f'The policy does not beat {"; nor ".join(lost)}.']
    if len(lost) < len(ratio):
        said.append(f'Elsewhere it beats both: {won}')
    return said


def _of_chunks(chunks: Mapping[str, float]) -> list[str]:
    if not chunks:
        return []
    named = ', '.join(f'{value:.2g} in {group}' for group, value in chunks.items())
    return [f'Its whole chunks err, in parts of what standing still does, by {named}.']
