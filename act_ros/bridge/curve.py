"""The mechanism CURVE, the server's side (RFC 26 of ZeroMQ), by libsodium.

Only clients with a known key are let in, and what goes over the wire nobody else can read or
change. A connection is given one try: two commands of bounded size, of which each either is
right or ends it without a word. Until the client has shown its key, no key of its own connection
is kept: they travel in the cookie, which only this object can open.

C and S are the lasting keys of client and server, C' and S' those of the connection, as there;
in small letters the secret ones.
"""

import secrets
import struct

from nacl import bindings
from nacl._sodium import ffi, lib  # the bindings copy a message twice, which takes longest of all
from nacl.exceptions import CryptoError

from act_ros.bridge.keys import ServerKeys
from act_ros.bridge.zmtp import COMMAND, METADATA, MORE, ViolationError

_HELLO = 200  # bytes; it is longer than its answer, so that nobody is flooded by way of a server
_INITIATE = 257  # bytes at least


class Curve:
    """One connection's part of it.

    :param keys: the server's own, and those of its clients.
    """

    name = b'CURVE'
    overhead = 33

    def __init__(self, keys: ServerKeys) -> None:
        self._keys = keys
        self._cookie_key = b''  # empty until HELLO has come
        self._shared = b''  # what both sides compute from C' and S'
        self._theirs = 0  # the nonce of the last command: each must be greater than the one before
        self._ours = 0

    def begin(self) -> bytes:
        return b''

    def answer(self, command: bytes) -> tuple[bytes, bytes | None]:
        try:
            if not self._cookie_key:
                return self._welcome(command), None
            return self._ready(command)
        except CryptoError:
            raise ViolationError('authentication') from None

    def seal(self, flags: int, data: bytes | memoryview) -> bytes:
        payload = bytes([flags & MORE | (flags & COMMAND) >> 1]) + data
        nonce = self._next_nonce()
        box = bindings.crypto_box_easy_afternm(payload, b'CurveZMQMESSAGES' + nonce, self._shared)
        return b'\x07MESSAGE' + nonce + box

    def unseal(self, body: memoryview) -> tuple[int, memoryview]:
        if len(body) < self.overhead or bytes(body[:8]) != b'\x07MESSAGE':
            raise ViolationError('handshake')
        nonce = b'CurveZMQMESSAGEC' + self._in_order(bytes(body[8:16]))
        box = ffi.from_buffer('unsigned char[]', body[16:])
        # In place: what was the box becomes what was in it, 16 bytes shorter.
        if lib.crypto_box_open_easy_afternm(box, box, len(box), nonce, self._shared):
            raise ViolationError('authentication')
        flags = body[16]
        if flags > 3:
            raise ViolationError('frame')
        return flags & 1 | (flags & 2) << 1, body[17:-16]

    def _welcome(self, hello: bytes) -> bytes:
        """The answer to HELLO: S', and the cookie, both for C' alone."""
        if len(hello) != _HELLO or hello[:80] != b'\x05HELLO\x01\x00' + bytes(72):
            raise ViolationError('handshake')
        client, nonce = hello[80:112], self._in_order(hello[112:120])
        secret = self._keys.pair.secret
        signature = bindings.crypto_box_open(
            hello[120:], b'CurveZMQHELLO---' + nonce, client, secret
        )
        if signature != bytes(64):
            raise ViolationError('authentication')
        public, short_secret = bindings.crypto_box_keypair()
        self._cookie_key = secrets.token_bytes(32)
        cookie_nonce = secrets.token_bytes(16)
        cookie = bindings.crypto_secretbox(
            client + short_secret, b'COOKIE--' + cookie_nonce, self._cookie_key
        )
        nonce = secrets.token_bytes(16)
        box = bindings.crypto_box(
            public + cookie_nonce + cookie, b'WELCOME-' + nonce, client, secret
        )
        return b'\x07WELCOME' + nonce + box

    def _ready(self, initiate: bytes) -> tuple[bytes, bytes]:
        """The answer to INITIATE, and the metadata in it, of a client that has shown C."""
        if len(initiate) < _INITIATE or initiate[:9] != b'\x08INITIATE':
            raise ViolationError('handshake')
        cookie = bindings.crypto_secretbox_open(
            initiate[25:105], b'COOKIE--' + initiate[9:25], self._cookie_key
        )
        client, short_secret = cookie[:32], cookie[32:]
        nonce = b'CurveZMQINITIATE' + self._in_order(initiate[105:113])
        opened = bindings.crypto_box_open(initiate[113:], nonce, client, short_secret)
        lasting, nonce = opened[:32], b'VOUCH---' + opened[32:48]
        vouch = bindings.crypto_box_open(opened[48:128], nonce, lasting, short_secret)
        # Who is not known has done the same work until here, and learns no more than others.
        if vouch != client + self._keys.pair.public or lasting not in self._keys.clients:
            raise ViolationError('authentication')
        self._shared = bindings.crypto_box_beforenm(client, short_secret)
        ready = self._next_nonce()
        box = bindings.crypto_box_easy_afternm(METADATA, b'CurveZMQREADY---' + ready, self._shared)
        return b'\x05READY' + ready + box, opened[128:]

    def _in_order(self, nonce: bytes) -> bytes:
        """A nonce of the client, which was never used before."""
        (number,) = struct.unpack('>Q', nonce)
        if number <= self._theirs:
            raise ViolationError('replay')
        self._theirs = number
        return nonce

    def _next_nonce(self) -> bytes:
        self._ours += 1
        return struct.pack('>Q', self._ours)
