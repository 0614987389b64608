"""A simulated free-flying robot arm: physics and rendering, without ROS."""
