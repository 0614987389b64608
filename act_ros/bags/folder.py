"""The files that a bag consists of."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path, PurePath

import yaml

from act_ros.bags.damage import Damage, reason
from act_ros.errors import BagError

SUFFIXES = ('.mcap', '.db3')
PACKED = '.zstd'  # after these: the whole file is compressed


@dataclass(frozen=True)
class Metadata:
    """What metadata.yaml says of a folder.

    :ivar names: of its files.
    :ivar messages: how many are in them.
    """

    names: tuple[str, ...] = ()
    messages: int = 0


def files_of(path: Path) -> list[Path]:
    """Every file that is read of a bag, what a crash left beside them included."""
    found = path.iterdir() if path.is_dir() else [path]
    data = [file for file in found if is_of_a_bag(file)]
    beside = [path / 'metadata.yaml', *(Path(f'{file}-wal') for file in data)]
    return sorted(file for file in data + beside if file.is_file())


def bags_of(given: Iterable[Path]) -> list[Path]:
    """Bags, each once: those that are given, and those in folders of bags, by name."""
    return list(dict.fromkeys(bag.resolve() for path in given for bag in _inside(Path(path))))


def _inside(path: Path) -> list[Path]:
    if not path.is_dir() or any(map(is_of_a_bag, path.iterdir())):
        return [path]
    inside = sorted(folder for folder in path.iterdir() if folder.is_dir())
    found = [folder for folder in inside if any(map(is_of_a_bag, folder.iterdir()))]
    return found or [path]  # whose reader says what it lacks


def is_of_a_bag(path: Path) -> bool:
    """Whether a file is one of a bag by its name; hidden ones are of the system."""
    name = path.name.removesuffix(PACKED)
    return name.endswith(SUFFIXES) and not name.startswith('.')


def data_files(folder: Path, metadata: Metadata, damage: Damage) -> list[list[Path]]:
    """The files of a folder in the order of their numbers, each with its packed twin.

    :param damage: is told what does not fit.
    :raises BagError: there is none.
    """
    found = {file.name: file for file in folder.iterdir() if is_of_a_bag(file)}
    if not found:
        names = sorted(file.name for file in folder.iterdir())
        raise BagError(
            f'{folder} is no bag: it has no .mcap or .db3 file '
            f'(found {", ".join(names[:5]) or "nothing"})'
        )
    missing = [name for name in metadata.names if name not in found]
    if missing:
        damage.note(f'metadata.yaml does not fit: there is no {", ".join(missing)}')
    if missing or not metadata.names:
        unpacked = {name.removesuffix(PACKED) for name in found}
        twins = [[n for n in (name, name + PACKED) if n in found] for name in unpacked]
    else:
        twins = [[name] for name in dict.fromkeys(metadata.names)]
        beside = {n.removesuffix(PACKED) for n in found}
        beside -= {n.removesuffix(PACKED) for n in metadata.names}
        if beside:
            damage.note(
                f'metadata.yaml does not name {", ".join(sorted(beside))}: not read (if it is of '
                f'this run, remove metadata.yaml)'
            )
    return sorted(([found[n] for n in names] for names in twins), key=lambda t: _number(t[0]))


def read_metadata(folder: Path, damage: Damage) -> Metadata:
    """What is said of a folder's files, as far as it is known.

    :param damage: is told where it is not.
    """
    file = folder / 'metadata.yaml'
    if not file.exists():
        damage.note('metadata.yaml is missing: the recording was not ended')
        return Metadata()
    try:
        about = yaml.safe_load(file.read_text(encoding='utf-8'))['rosbag2_bagfile_information']
        names = tuple(PurePath(name).name for name in about['relative_file_paths'])
        return Metadata(names, int(about['message_count']))
    except Exception as error:  # of many kinds: it may hold anything
        damage.note(f'metadata.yaml cannot be read: {reason(error)}')
        return Metadata()


def _number(path: Path) -> tuple[int, str]:
    """Files of one bag end in _0, _1, ... _10."""
    match = re.search(r'_(\d+)\.(?:mcap|db3)', path.name)
    return (int(match[1]) if match else -1, path.name)
