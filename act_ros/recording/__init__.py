"""A bag as runs of a robot: its episodes, and what was observed and commanded at each tick."""
