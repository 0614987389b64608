"""Bags to a checkpoint in the public format, without ROS."""
