"""How a checkpoint would have acted on recorded runs: a bag through the robot's own code."""
