"""The demonstration: the simulated robot as a ROS node, and the ACT node beside it."""
