"""The ROS rim: the ACT lifecycle node, its wiring and threads."""
