"""The pure code's log lines, in ROS's log."""

import logging

import rclpy.logging


class RosHandler(logging.Handler):
    """Hands records of Python's logging to rclpy's logger of the node."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self._logger = rclpy.logging.get_logger(name)
        # rclpy tells call sites apart by file and line and refuses a second severity from one
        # of them, so each severity has a line of its own.
        self._emit = {
            logging.DEBUG: lambda text: self._logger.debug(text),
            logging.INFO: lambda text: self._logger.info(text),
            logging.WARNING: lambda text: self._logger.warning(text),
            logging.ERROR: lambda text: self._logger.error(text),
            logging.CRITICAL: lambda text: self._logger.fatal(text),
        }

    def emit(self, record: logging.LogRecord) -> None:
        """Log one record."""
        self._emit.get(record.levelno, self._emit[logging.ERROR])(self.format(record))


def log_to_ros(name: str = 'act') -> None:
    """Send this package's log records to the ROS logger of that name."""
    logger = logging.getLogger('act_ros')
    logger.addHandler(RosHandler(name))
    logger.setLevel(logging.INFO)
    logger.propagate = False
