"""Which Fast DDS profile a process uses."""

import os

from act_ros.config import CONFIG_DIR


def use_profile() -> None:
    """Let camera images fit into shared memory, unless the user has a profile of their own.

    Counts for participants made later in this process and in its children.
    """
    names = ('FASTDDS_DEFAULT_PROFILES_FILE', 'FASTRTPS_DEFAULT_PROFILES_FILE')
    if not any(name in os.environ for name in names):
        # Humble's Fast DDS knows only the old name; later ones warn of it.
        name = names[os.environ.get('ROS_DISTRO') == 'humble']
        os.environ[name] = str(CONFIG_DIR / 'fastdds.xml')
