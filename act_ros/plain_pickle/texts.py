"""Text as pickles write it, and what is too long for a text: an array's data.

Protocols 0 to 2 know no bytes, so that an image comes as text: latin-1 characters, escaped or
encoded. Decoding one at once would hold the interpreter for as long as that takes, and a control
loop in the same process with it. So it stays in the message until an array asks for it, and is
then decoded piece by piece; nothing else can be made of it.
"""

import codecs
import mmap
from collections.abc import Callable
from dataclasses import dataclass

from act_ros.plain_pickle.errors import need

MAX_VALUE = 1 << 16  # bytes of one text, or of one bytes, in a message
_PIECE = 1 << 16  # bytes that are decoded at once
_ESCAPES = (b'n', b'r', b't', b"'", b'"', b'x')  # what follows a backslash in Python 2's repr

# As the standard library's decoders: (bytes, errors, final) to the text, and to how many bytes of
# a piece that is not the last it stands for.
Decoder = Callable[[memoryview, str, bool], tuple[str, int]]

utf_8: Decoder = codecs.utf_8_decode
raw_unicode_escape: Decoder = codecs.raw_unicode_escape_decode


def string_escape(piece: memoryview, errors: str, final: bool) -> tuple[str, int]:
    """Decode the `repr` of a Python 2 string, each byte to one latin-1 character."""
    text = bytes(piece)
    if not final:
        text = text[: _unfinished(text)]
    # At the speed of C: an image has a million escapes.
    alone = text.replace(b'\\\\', b'')
    known = sum(alone.count(b'\\' + code) for code in _ESCAPES)
    need(known == alone.count(b'\\'), 'a Python 2 string with an unknown escape')
    return codecs.escape_decode(text)[0].decode('latin-1'), len(text)


def _unfinished(text: bytes) -> int:
    r"""Where the escape begins that the end of the text cuts (`\`, `\x`, `\x4`), or the end."""
    for start in range(max(0, len(text) - 3), len(text)):
        # Of several backslashes in a row each second one belongs to the one before it.
        backslashes = start - len(text[:start].rstrip(b'\\'))
        if text[start : start + 2] in (b'\\', b'\\x') and backslashes % 2 == 0:
            return start
    return len(text)


@dataclass(slots=True, eq=False)
class LongText:
    """Text too long for a value: an array's data, still as the message has it.

    :ivar raw: its bytes in the message.
    """

    raw: memoryview
    decode: Decoder

    def encode(self) -> memoryview:
        """The bytes that it stands for, one a character."""
        # Pages of its own: a buffer that grows is copied as a whole now and then, and the heap
        # gives back a large one without letting another thread run. Pages not used cost nothing.
        pages = mmap.mmap(-1, len(self.raw))  # no escape is longer when decoded
        used = 0
        while used < len(self.raw):
            piece = self.raw[used : used + _PIECE]
            text, count = self.decode(piece, 'strict', used + len(piece) == len(self.raw))
            pages.write(text.encode('latin-1'))
            used += count
        return memoryview(pages)[: pages.tell()]


def read_text(raw: memoryview, decode: Decoder) -> str:
    """Decode a text that is none too long.

    :raises ValueError: it is no text, or escapes spell half of a surrogate pair.
    """
    text = decode(raw, 'strict', True)[0]
    text.encode()
    return text
