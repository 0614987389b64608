"""A checkpoint as LeRobot writes it: its own format, the same network.

Three layouts: with processor files (since 0.4), with the statistics inside the model (to 0.3.3),
and with a configuration of other fields (before 2025). None of its code runs, and nothing is
fetched.
"""

from act_ros.policy.checkpoint.lerobot.config import CONFIG_JSON
from act_ros.policy.checkpoint.lerobot.reading import find_lerobot, read_lerobot

__all__ = ['CONFIG_JSON', 'find_lerobot', 'read_lerobot']
