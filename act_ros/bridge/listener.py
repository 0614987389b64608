"""The socket that clients connect to, at an endpoint written as libzmq has it.

tcp://127.0.0.1:5555, tcp://[::1]:5555, tcp://*:5555, tcp://localhost:*, ipc:///run/act.sock, and
ipc://@name, which is no file.
"""

import contextlib
import errno
import re
import socket
import stat
from pathlib import Path

from act_ros.bridge.protocol import DEFAULT_ENDPOINT
from act_ros.errors import ActError

_BACKLOG = 100
_TCP = re.compile(r'tcp://(\*|\[[^\[\]]+\]|[^\s:/\[\]*]+):(\*|\d{1,5})')
_IPC = re.compile(r'ipc://(@?[^@*].*)')


class Listener:
    """A listening socket, which never blocks.

    :param endpoint: where; the port 0 or `*` is one that is free.
    :ivar endpoint: where, with the port's number.
    :raises ActError: it cannot listen there.
    """

    def __init__(self, endpoint: str) -> None:
        self._path: Path | None = None
        try:
            if match := _TCP.fullmatch(endpoint):
                self.socket = _listen_tcp(match[1], int(match[2].replace('*', '0')))
                self.endpoint = _tcp_endpoint(self.socket)
            elif match := _IPC.fullmatch(endpoint):
                self.socket = _listen_ipc(match[1])
                self.endpoint = endpoint
                if not match[1].startswith('@'):
                    self._path = Path(match[1]).absolute()
                    self._file = _identity(self._path)
            else:
                raise OSError('that is no endpoint')
        except (OSError, OverflowError, ValueError) as error:
            raise ActError(_bind_error(endpoint, error)) from None
        self.socket.setblocking(False)

    @property
    def is_tcp(self) -> bool:
        return self.socket.family != socket.AF_UNIX

    def accept(self) -> socket.socket:
        """The next connection; it never blocks.

        :raises OSError: as `socket.accept`; BlockingIOError where nobody waits.
        """
        connection, _ = self.socket.accept()
        connection.setblocking(False)
        if self.is_tcp:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            # A robot that lost its network never says goodbye: its connection shall not stay.
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            for option, value in (('KEEPIDLE', 60), ('KEEPINTVL', 10), ('KEEPCNT', 3)):
                if number := getattr(socket, f'TCP_{option}', None):
                    connection.setsockopt(socket.IPPROTO_TCP, number, value)
        return connection

    def close(self) -> None:
        """Free the address. A file that another server has put there meanwhile stays."""
        self.socket.close()
        if self._path is not None:
            with contextlib.suppress(OSError):
                if _identity(self._path) == self._file:
                    self._path.unlink()


def _listen_tcp(host: str, port: int) -> socket.socket:
    if host.startswith('['):
        family, host = socket.AF_INET6, host[1:-1]
    else:
        family, host = socket.AF_INET, '0.0.0.0' if host == '*' else host
    if port > 65535:  # getaddrinfo would take what is left of it
        raise OSError(f'{port} is no port')
    address = socket.getaddrinfo(host, port, family, socket.SOCK_STREAM)[0][4]
    listening = socket.socket(family, socket.SOCK_STREAM)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:  # [::] takes IPv4 too, as libzmq has it
            listening.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        listening.bind(address)
        listening.listen(_BACKLOG)
    except BaseException:
        listening.close()
        raise
    return listening


def _tcp_endpoint(listening: socket.socket) -> str:
    host, port = listening.getsockname()[:2]
    return f'tcp://[{host}]:{port}' if ':' in host else f'tcp://{host}:{port}'


def _listen_ipc(name: str) -> socket.socket:
    address = '\0' + name[1:] if name.startswith('@') else name
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        try:
            listening.bind(address)
        except OSError as error:
            if error.errno != errno.EADDRINUSE or not _is_left_behind(address):
                raise
            Path(address).unlink()
            listening.bind(address)
        listening.listen(_BACKLOG)
    except BaseException:
        listening.close()
        raise
    return listening


def _is_left_behind(address: str) -> bool:
    """Whether a file is the socket of a server that is gone."""
    if address.startswith('\0') or not stat.S_ISSOCK(Path(address).stat().st_mode):
        return False
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.setblocking(False)
        return probe.connect_ex(address) == errno.ECONNREFUSED


def _identity(path: Path) -> tuple[int, int]:
    about = path.stat()
    return about.st_dev, about.st_ino


def _bind_error(endpoint: str, error: Exception) -> str:
    if isinstance(error, OSError) and error.errno == errno.EADDRINUSE:
        return (
            f'address in use: {endpoint}; another server runs there, stop it or choose another '
            f'port with --endpoint'
        )
    text = (isinstance(error, OSError) and error.strerror) or error
    return (
        f'cannot listen on {endpoint!r}: {text}; expected tcp://ADDRESS:PORT, '
        f'e.g. {DEFAULT_ENDPOINT}'
    )
