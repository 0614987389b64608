"""Files of CURVE keys, in the format of `zmq.auth`: an endpoint's own, and who may use it.

A server's folder:

    server.key_secret      its pair of keys; for nobody else
    server.key             its public key, for all clients
    clients/NAME.key       the public key of a client that is let in

A client has its own `NAME.key_secret`, and a copy of `server.key`.
"""

import re
import stat
from dataclasses import dataclass, field
from pathlib import Path

import zmq
from zmq.utils import z85

from act_ros.errors import ActError, shorten
from act_ros.files import whole

CLIENTS = 'clients'
_NAME = re.compile(r'[A-Za-z0-9][\w.-]{0,63}', re.ASCII)
_KEY = re.compile(r'\s*(public|secret)-key\s*=\s*"([^"]*)"\s*')
_MAX_FILE = 64 * 1024  # bytes

_PUBLIC = '# A public CURVE key: for everyone who talks to its owner.\n'
_SECRET = '# A secret CURVE key: for nobody but its owner.\n'


@dataclass(frozen=True)
class KeyPair:
    """A pair of CURVE keys, 32 bytes each."""

    public: bytes
    secret: bytes = field(repr=False)


@dataclass(frozen=True)
class ServerKeys:
    """What a server needs for CURVE.

    :ivar pair: its own keys.
    :ivar clients: the public keys of those that it lets in.
    """

    pair: KeyPair
    clients: frozenset[bytes]

    @classmethod
    def load(cls, folder: str | Path) -> 'ServerKeys':
        """Read a server's folder.

        :raises ActError: a file is missing or holds no key; others can read the secret; nobody
            is let in.
        """
        pair = load_pair(Path(folder, 'server.key_secret'))
        clients = frozenset(map(load_public, sorted(Path(folder, CLIENTS).glob('*.key'))))
        if not clients:
            raise ActError(
                f'no client may connect: no {CLIENTS}/*.key in {folder}; make one with '
                f'python -m act_ros.make_keys {folder} --client NAME'
            )
        return cls(pair, clients)


def load_public(path: Path) -> bytes:
    """The public key in a file.

    :raises ActError: the file is missing, or holds none.
    """
    return _key(_read(path), 'public', path)


def load_pair(path: Path) -> KeyPair:
    """Both keys in a secret file.

    :raises ActError: the file is missing or does not hold them, or others can read it.
    """
    found = _read(path)
    if path.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise ActError(f'{path} is open to others than its owner; expected chmod 600 {path}')
    return KeyPair(_key(found, 'public', path), _key(found, 'secret', path))


def make_server(folder: Path) -> list[Path]:
    """Make a server's keys, and the folder where it has none.

    :returns: the files.
    :raises ActError: it has keys.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    (folder / CLIENTS).mkdir(exist_ok=True)
    return _make(folder / 'server')


def make_client(folder: Path, name: str) -> list[Path]:
    """Make the keys of a client that a server lets in.

    :param folder: the server's.
    :returns: the files.
    :raises ActError: the name is none, or has keys.
    """
    if not _NAME.fullmatch(name):
        raise ActError(f'--client is {shorten(name)}, expected letters, digits, ., _ and -')
    (folder / CLIENTS).mkdir(exist_ok=True)
    return _make(folder / CLIENTS / name)


def _make(stem: Path) -> list[Path]:
    public, secret = (Path(f'{stem}.{end}') for end in ('key', 'key_secret'))
    for path in (public, secret):
        if path.exists():
            raise ActError(f'{path} exists; to have new keys there, remove it first')
    public_key, secret_key = (key.decode() for key in zmq.curve_keypair())
    text = f'\nmetadata\ncurve\n    public-key = "{public_key}"\n'
    _write(secret, 0o600, f'{_SECRET}{text}    secret-key = "{secret_key}"\n')
    _write(public, 0o644, _PUBLIC + text)
    return [public, secret]


def _write(path: Path, mode: int, text: str) -> None:
    with whole(path) as part:
        part.touch(mode)
        part.write_text(text)


def _read(path: Path) -> dict[str, str]:
    """What a file says of each kind of key."""
    try:
        with path.open('rb') as file:
            text = file.read(_MAX_FILE).decode('utf-8', 'replace')
    except OSError as error:
        raise ActError(
            f'cannot read {path}: {error.strerror}; python -m act_ros.make_keys makes such files'
        ) from None
    matches = map(_KEY.fullmatch, text.splitlines())
    return {match[1]: match[2] for match in matches if match}


def _key(found: dict[str, str], kind: str, path: Path) -> bytes:
    text = found.get(kind, '')
    try:
        key = z85.decode(text)
    except (ValueError, KeyError, UnicodeError):
        key = b''
    if len(key) != 32:
        raise ActError(f'{path} holds no {kind}-key of 40 characters; expected a file of zmq.auth')
    return key
