"""Read and write plain data as pickle without ever running what a pickle asks for.

The wire protocol carries one pickled Python object in each message, and a stock
:class:`pickle.Unpickler` runs whatever such a message names. Subclassing it and overriding
``find_class`` is the usual remedy, and it is not enough here:

* a few bytes (``LONG_BINPUT`` with a huge index) make its memo table grow to gigabytes;
* ``BUILD`` sets attributes, or calls ``__setstate__``, on whatever ``find_class`` let through;
* an allowed ``numpy.dtype`` still has its ``__setstate__`` called with flags, field names and
  sizes of the sender's choosing, and NumPy trusts them when it later follows pointers.

So :func:`loads` is a small stack machine of its own (``reader``). It knows the opcodes that plain
data needs, looks global names up in a fixed table of inert stand-ins, and builds each array
itself from a checked type code, a checked shape and the bytes in the message (``arrays``).
Nothing is imported, looked up with ``getattr`` or called on a message's behalf, and nothing here
recurses. What a message can cost is bounded, in time, in memory, and above all in what one call
of the standard library or of NumPy walks through: until it returns no other thread runs, and one
of those may be a control loop. :func:`dumps` (``writer``) writes what every Python 3 and NumPy
can read.

:func:`read_inert` (``inert``) is for files, which hold more than is wanted of them: instead of
refusing what is no plain data it leaves a name in its place.
"""

from act_ros.plain_pickle.arrays import Name
from act_ros.plain_pickle.errors import UnsafePickleError
from act_ros.plain_pickle.inert import read_inert
from act_ros.plain_pickle.reader import loads
from act_ros.plain_pickle.writer import dumps

__all__ = ['Name', 'UnsafePickleError', 'dumps', 'loads', 'read_inert']
