"""End a process of ROS nodes cleanly on SIGINT, SIGTERM and SIGHUP, whatever it is doing.

rclpy's own handlers invalidate publishers first, so that no last message could leave, and
`sys.exit` waits for operations that cannot be interrupted. So the handlers here do nothing
but wake a watcher thread, which stops the motion first and the executor second; the main
thread then tears ROS down, which leaves no shared memory behind, and ends the process. If any
of this hangs, the kernel ends it.
"""

import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from typing import TypeVar

import rclpy
from rclpy.exceptions import NameValidationException, ParameterException
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.impl.implementation_singleton import rclpy_implementation
from rclpy.node import Node
from rclpy.signals import SignalHandlerOptions

from act_ros.cli import stop_signals
from act_ros.errors import ActError
from act_ros.nodes import logs
from act_ros.parameter_file import as_rcl_reads

log = logging.getLogger(__name__)

N = TypeVar('N', bound=Node)

ROS_ERRORS = (
    rclpy_implementation.RCLError,
    rclpy_implementation.RCLInvalidROSArgsError,
    rclpy_implementation.UnknownROSArgsError,
    ParameterException,
    NameValidationException,
)

END_TIMEOUT = 10  # from a signal to the end, whatever hangs [s]


def run_node(make: Callable[[], N], halt: Callable[[N], int | None]) -> int:
    """Make a node and spin it until a signal.

    Returns only where the node could not be made; else the process ends in here.

    :param make: makes the node; an ActError is a user's mistake.
    :param halt: stops whatever the node moves: at once, and within half a second where that has
        to brake; what it returns is the exit code, 0 by default.
    :returns: the exit code.
    """
    wake_read, wake_write = os.pipe()
    os.set_blocking(wake_write, False)
    # First: a signal between a handler that does nothing and this would be lost.
    signal.set_wakeup_fd(wake_write, warn_on_full_buffer=False)
    signals = stop_signals()
    for number in signals:
        signal.signal(number, lambda *_: None)

    ending, made, code = threading.Event(), threading.Event(), 0

    def watch() -> None:
        nonlocal code
        os.read(wake_read, 1)
        ending.set()
        signal.alarm(END_TIMEOUT)
        made.wait()
        try:
            code = halt(node) or code
        finally:
            executor.shutdown(timeout_sec=0.5)

    watcher = threading.Thread(target=watch, name='signals', daemon=True)
    watcher.start()
    try:
        with as_rcl_reads(sys.argv) as argv:
            rclpy.init(
                args=[*argv, *logs.ROS_ARGUMENTS], signal_handler_options=SignalHandlerOptions.NO
            )
        node = make()
        logs.log_as(node.get_logger().name)
    except (ActError, *ROS_ERRORS) as error:
        # What rcl says of a malformed parameter file or argument is the user's to mend, too.
        print(f'error: {" ".join(str(error).split())}', file=sys.stderr)
        rclpy.try_shutdown()
        return 2
    executor = SingleThreadedExecutor()
    executor.add_node(node)
    made.set()
    try:
        executor.spin()
    except ExternalShutdownException:
        pass
    except BaseException as error:
        # A callback that outlasts the shutdown finds the executor's parts gone.
        if not (ending.is_set() and isinstance(error, rclpy_implementation.InvalidHandle)):
            log.critical('the node failed', exc_info=error)
            code = 1
    os.write(wake_write, b'\0')  # also where no signal has ended the spinning
    watcher.join()
    time.sleep(0.05)  # the last message is on its way
    logs.flush()
    node.destroy_node()
    rclpy.try_shutdown()
    logs.flush()
    os._exit(code)
