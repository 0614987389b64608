"""Files that are whole or not there."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def whole(path: Path) -> Iterator[Path]:
    """A path to write to, which takes the place of `path` once all of it is written."""
    part = path.with_suffix('.part')
    try:
        yield part
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
