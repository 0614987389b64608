"""Files and folders that are whole or not there."""

import hashlib
import os
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory


@contextmanager
def whole(path: Path) -> Iterator[Path]:
    """A path to write to, which takes the place of `path` once all of it is written.

    It lies beside it under a name that nobody else has: nothing that was there is touched. What
    takes its place is on the disk: a loss of power leaves the one or the other.
    """
    with TemporaryDirectory(prefix=f'.{path.name}.', dir=path.parent) as folder:
        part = Path(folder, path.name)
        yield part
        reach_disk(part)
        part.replace(path)


def reach_disk(path: Path) -> None:
    """Wait until a file, or a folder with all that is in it, would outlive a loss of power."""
    for each in (*path.rglob('*'), path):
        handle = os.open(each, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def sha256(path: Path) -> str:
    """The digest of a file's content, in hexadecimal."""
    digest = hashlib.sha256()
    with path.open('rb') as file:
        while piece := file.read(1 << 20):
            digest.update(piece)
    return digest.hexdigest()


def free(path: Path) -> int:
    """How many bytes are free where a path is, or would be."""
    path = path.absolute()
    while not path.exists():
        path = path.parent
    return shutil.disk_usage(path).free


def states(paths: Iterable[Path]) -> dict[str, list[int]]:
    """Size and time of change [ns] of each file: with others it holds something else."""
    found = {str(path): path.stat() for path in paths}
    return {path: [about.st_size, about.st_mtime_ns] for path, about in found.items()}
