"""Write a bag."""

from collections.abc import Iterable
from pathlib import Path
from types import TracebackType
from typing import Any

from rosbags.rosbag2 import CompressionFormat, CompressionMode, StoragePlugin, Writer

from act_ros.bags.typestore import typestore


class BagWriter:
    """A new MCAP bag, open for writing until it is closed.

    :param path: its folder, which must not be there yet.
    :param compressed: by zstd, in chunks of the file, as rosbag2 can. Drawn pictures then need a
        tenth of the space.
    :ivar file: the file in it.
    """

    def __init__(self, path: Path, *, compressed: bool = False) -> None:
        self.file = path / f'{path.name}.mcap'
        self._writer = Writer(path, version=9, storage_plugin=StoragePlugin.MCAP)
        if compressed:
            self._writer.set_compression(CompressionMode.STORAGE, CompressionFormat.ZSTD)
        self._writer.open()
        self._connections: dict[str, Any] = {}

    def __enter__(self) -> 'BagWriter':
        return self

    def __exit__(
        self, error_type: type | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the bag; nothing can be written any more."""
        self._writer.close()

    def add_topic(self, topic: str, message_type: str) -> None:
        """Make a topic, with or without messages; `write` makes those that are not there.

        :param message_type: its type, as in 'sensor_msgs/msg/Image'.
        """
        self._connections[topic] = self._writer.add_connection(
            topic, message_type, typestore=typestore()
        )

    def write(self, topic: str, receipt: int, message: Any) -> None:
        """Write a message of the standard types.

        :param receipt: when it was recorded [ns].
        """
        message_type = message.__msgtype__
        if topic not in self._connections:
            self.add_topic(topic, message_type)
        self.write_raw(topic, receipt, typestore().serialize_cdr(message, message_type))

    def write_raw(self, topic: str, receipt: int, raw: bytes | memoryview) -> None:
        """Write a message of a topic that there is, as it was serialised: CDR."""
        self._writer.write(self._connections[topic], receipt, raw)


def write_bag(
    path: Path, messages: Iterable[tuple[str, int, Any]], *, compressed: bool = False
) -> Path:
    """Write messages of the standard types as a new bag.

    :param compressed: as to `BagWriter`.
    :param messages: topic, receipt [ns] and message, in the order of the receipts.
    """
    with BagWriter(path, compressed=compressed) as writer:
        for topic, receipt, message in messages:
            writer.write(topic, receipt, message)
    return path
