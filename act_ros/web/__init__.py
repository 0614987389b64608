"""One page for whoever stands beside the robot: read-only."""
