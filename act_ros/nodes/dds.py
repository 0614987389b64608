"""What the middleware of this process and of its children is told: by environment variables.

They count for participants that are made later.
"""

import os
import sys
from importlib.util import find_spec
from pathlib import Path

from act_ros.config import CONFIG_DIR

PROFILES = ('FASTDDS_DEFAULT_PROFILES_FILE', 'FASTRTPS_DEFAULT_PROFILES_FILE')

# Each of these can lead off this machine, into another graph, or to another's files: peers and
# servers by name, profiles and their transports, Cyclone's ExternalDomainId, credentials.
ELSEWHERE = (
    'ROS_STATIC_PEERS', 'ROS_LOCALHOST_ONLY', 'ROS_DISCOVERY_SERVER', 'ROS_SUPER_CLIENT',
    'ROS2_EASY_MODE',
)  # fmt: skip
ELSEWHERE_PREFIXES = ('FASTDDS_', 'FASTRTPS_', 'RMW_FASTRTPS_', 'CYCLONEDDS_', 'ROS_SECURITY_')


def use_profile() -> None:
    """Let camera images fit into shared memory, unless the user has a profile of their own."""
    os.environ.update(image_profile())


def image_profile() -> dict[str, str]:
    """The variable that names the profile for camera images; none where the user has one."""
    return {} if any(name in os.environ for name in PROFILES) else _profile('fastdds.xml')


def keep_to_this_host(domain: int) -> None:
    """Choose a ROS domain on this machine alone, whatever the user's shell says.

    For Fast DDS and Cyclone DDS; other middlewares are not confined by these variables.
    """
    for name in list(os.environ):
        if name in ELSEWHERE or name.startswith(ELSEWHERE_PREFIXES):
            del os.environ[name]
    os.environ['ROS_DOMAIN_ID'] = str(domain)
    os.environ['ROS_AUTOMATIC_DISCOVERY_RANGE'] = 'LOCALHOST'
    if _humble():  # which knows no discovery range; later ones warn of its variable
        os.environ['ROS_LOCALHOST_ONLY'] = '1'
    # Fast DDS would take further profiles from the working directory.
    os.environ['SKIP_DEFAULT_XML_FILE'] = '1'
    os.environ.update(_profile('fastdds_this_host.xml'))


def _profile(file: str) -> dict[str, str]:
    return dict.fromkeys(_profile_variables(), str(CONFIG_DIR / file))


def _profile_variables() -> tuple[str, ...]:
    """What names the profile to the Fast DDS that is installed; both names where none is found.

    Before Fast DDS 3 (Humble, Jazzy) there is the old name alone; with it ROS warns of that.
    """
    prefixes = [*os.environ.get('AMENT_PREFIX_PATH', '').split(os.pathsep), sys.prefix]
    for library in (Path(prefix, 'lib') for prefix in prefixes if prefix):
        for name, variables in (('fastdds', PROFILES[:1]), ('fastrtps', PROFILES[1:])):
            if any(library.glob(f'lib{name}.so*')) or any(library.glob(f'*/lib{name}.so*')):
                return variables
    return PROFILES


def _humble() -> bool:
    """Whether this ROS is Humble: by its library, for a shell may name none, or another."""
    return find_spec('rclpy.event_handler') is None
