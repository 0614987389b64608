"""What is known of episodes, decoded once and kept on disk.

    CACHE/KEY/about.json   what it is of, and what was found
              ticks.npz    small arrays, see `Entry`
              frames.rgb   frames one after the other, (n, H, W, 3) uint8

KEY is a digest of what an episode was made from. A folder is whole or not there, whatever
ends the program or the machine.
"""

import fcntl
import hashlib
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from functools import lru_cache
from io import FileIO
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from act_ros.errors import BagError
from act_ros.files import reach_disk

ABOUT, TICKS, FRAMES = 'about.json', 'ticks.npz', 'frames.rgb'
ARRAYS = ('time', 'qpos', 'action', 'sample', 'frame')
PART, LOCK = '.part-', '.lock'
OPEN = 128  # files that are open at once


@dataclass(frozen=True)
class Entry:
    """An episode in the cache; T ticks, N samples, n frames.

    :ivar about: what was found, as JSON has it.
    :ivar time: (T,) of the ticks [ns].
    :ivar qpos: (T, state_dim) float32, policy units; NaN where the observation is not complete.
    :ivar action: (T, action_dim) float32, policy units; NaN where nothing was commanded.
    :ivar sample: (N,) the ticks that are samples.
    :ivar frame: (N, cameras) which frame each camera showed then.
    :ivar frames: file of the frames.
    """

    about: dict[str, Any]
    time: np.ndarray
    qpos: np.ndarray
    action: np.ndarray
    sample: np.ndarray
    frame: np.ndarray
    frames: Path

    @property
    def name(self) -> str:
        """For people."""
        return f'{self.about["bag"]}, {self.about["episode"]}'

    @property
    def key(self) -> str:
        """Differs where what it was made from does."""
        return self.frames.parent.name

    def arrays(self) -> dict[str, np.ndarray]:
        """All but the frames, by name."""
        return {name: getattr(self, name) for name in ARRAYS}


class Cache:
    """Episodes that are known, by what they were made from.

    Several programs may use one at the same time.

    :param folder: is made where something is kept.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def find(self, identity: Mapping[str, Any]) -> Entry | None:
        """An episode that is known; None where it is not, or its files are damaged."""
        folder = self.folder / key_of(identity)
        try:
            about = json.loads((folder / ABOUT).read_text(encoding='utf-8'))
            if (folder / FRAMES).stat().st_size != about['bytes']:
                return None
            with np.load(folder / TICKS, allow_pickle=False) as file:
                return Entry(about, **{name: file[name] for name in file.files},
                             frames=folder / FRAMES)  # fmt: skip
        except Exception:  # whatever damage may raise: then it is made again
            return None

    @contextmanager
    def building(self) -> Iterator[Path]:
        """A folder for what is not whole yet; it goes at the end, or after a kill with the next.

        :raises BagError: it cannot be made.
        """
        with ExitStack() as stack:
            with self.writing():
                self.folder.mkdir(parents=True, exist_ok=True)
                with _locked(self.folder):
                    for old in self.folder.glob(f'{PART}*'):
                        # In use, or gone meanwhile.
                        used = suppress(BlockingIOError, FileNotFoundError)
                        with used, _locked(old, fcntl.LOCK_NB):
                            shutil.rmtree(old, ignore_errors=True)
                    path = _temporary(stack, self.folder, PART)
                    stack.enter_context(_locked(path))
            yield path

    @contextmanager
    def begun(self, identity: Mapping[str, Any], building: Path) -> Iterator['Begun']:
        """An episode to be written, gone at the end unless it is kept.

        :param building: folder for what is not whole yet.
        :raises BagError: it cannot be made.
        """
        with ExitStack() as stack:
            with self.writing():
                folder = _temporary(stack, building) / key_of(identity)
                folder.mkdir()
                # Without a buffer: nothing is left that could fail when it is closed.
                frames = stack.enter_context((folder / FRAMES).open('wb', buffering=0))
            yield Begun(self, identity, folder, frames)

    def take_in(self, identity: Mapping[str, Any], folder: Path) -> None:
        """Keep the finished folder of an episode, unless another program was faster."""
        reach_disk(folder)
        target = self.folder / key_of(identity)
        with _locked(self.folder):
            if self.find(identity) is not None:
                return
            if target.exists():  # damaged
                target.rename(folder.with_name('damaged'))
            folder.rename(target)

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Say in one line that the cache cannot be written to.

        :raises BagError: it could not.
        """
        try:
            yield
        except OSError as error:
            raise BagError(
                f'cannot write to --cache {self.folder}: {error.strerror or error}; what is '
                f'whole there is gone on with'
            ) from error


class Begun:
    """An episode that is being written to a cache.

    :raises BagError: from each method: the disk is full.
    """

    def __init__(
        self, cache: Cache, identity: Mapping[str, Any], folder: Path, frames: FileIO
    ) -> None:
        self._cache, self._identity = cache, identity
        self._folder, self._frames = folder, frames

    def add(self, frame: np.ndarray) -> None:
        """Write the next frame, (H, W, 3) uint8."""
        left = np.ascontiguousarray(frame).data.cast('B')
        with self._cache.writing():
            while left:
                left = left[self._frames.write(left) :]

    def keep(self, about: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> None:
        """Take it into the cache.

        :param about: see `Entry`.
        :param arrays: see `Entry.arrays`.
        """
        with self._cache.writing():
            np.savez(self._folder / TICKS, **arrays)  # type: ignore[arg-type]
            text = json.dumps({**about, 'bytes': self._frames.tell()}, indent=1)
            (self._folder / ABOUT).write_text(text, encoding='utf-8')
            self._cache.take_in(self._identity, self._folder)


def _temporary(stack: ExitStack, parent: Path, prefix: str = '') -> Path:
    """A folder that is gone when the stack ends."""
    made = TemporaryDirectory(prefix=prefix, dir=parent, ignore_cleanup_errors=True)
    return Path(stack.enter_context(made))


def read_frame(frames: Path, number: int, out: np.ndarray) -> None:
    """Read a frame.

    :param frames: file of an entry.
    :param out: (H, W, 3) uint8, is filled.
    :raises BagError: the file has been cut or removed meanwhile.
    """
    try:
        file = _opened(frames)  # held on to, for another thread may have it forgotten
        count = os.preadv(file.descriptor, [out.data], number * out.nbytes)
    except OSError as error:
        raise BagError(f'{frames} cannot be read: {error.strerror}; train again') from None
    if count < out.nbytes:
        raise BagError(f'{frames} has been cut while it was read; train again')


class _Opened:
    """A file, open for reading until it is forgotten: another thread may still read it."""

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor

    def __del__(self) -> None:
        os.close(self.descriptor)


def _open(path: Path) -> _Opened:
    return _Opened(os.open(path, os.O_RDONLY))


_opened = lru_cache(maxsize=OPEN)(_open)


def key_of(identity: Mapping[str, Any]) -> str:
    """The folder of what was made from this."""
    text = json.dumps(identity, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:24]


@contextmanager
def _locked(folder: Path, how: int = 0) -> Iterator[None]:
    """A folder that one program has; let go of when it ends, however that is.

    A file in it is locked, and open for writing: a folder of another machine has no other lock.

    :raises BlockingIOError: with LOCK_NB: another has it.
    """
    handle = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT, 0o666)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | how)
        yield
    finally:
        os.close(handle)
