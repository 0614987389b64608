"""Files and folders that are whole or not there."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory


@contextmanager
def whole(path: Path) -> Iterator[Path]:
    """A path to write to, which takes the place of `path` once all of it is written.

    It lies beside it under a name that nobody else has: nothing that was there is touched.
    """
    with TemporaryDirectory(prefix=f'.{path.name}.', dir=path.parent) as folder:
        part = Path(folder, path.name)
        yield part
        part.replace(path)


def states(paths: Iterable[Path]) -> dict[str, list[int]]:
    """Size and time of change [ns] of each file: with others it holds something else."""
    found = {str(path): path.stat() for path in paths}
    return {path: [about.st_size, about.st_mtime_ns] for path, about in found.items()}
