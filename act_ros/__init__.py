"""Run a trained ACT policy on a ROS 2 robot, over ZMQ, or on recorded bags."""


def __getattr__(name: str) -> str:
    if name == '__version__':  # of what is installed; it is asked for seldom
        from importlib.metadata import version

        return version('act_ros')
    raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
