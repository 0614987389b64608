"""A parameter file for a robot that has none, from what there is of the robot."""
