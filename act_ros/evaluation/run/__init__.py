"""Bags through the robot's own code: planned, run episode by episode, and kept."""
