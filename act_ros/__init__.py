"""Run a trained ACT policy on a ROS 2 robot, over ZMQ, or on recorded bags."""
