"""Whether a parameter file fits: by itself, the policy, a recording or the robot."""
