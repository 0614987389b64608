"""A simulated free-flying robot arm: physics and rendering, without ROS."""

from pathlib import Path

DEMONSTRATION = Path(__file__).parent / 'demonstration'
"""Folder of the checkpoint that comes with this package: it does the simulated robot's task."""

SEED = 1_000_000
"""Recordings count their seeds from 0 on; no policy was trained on the scenes from here on."""
