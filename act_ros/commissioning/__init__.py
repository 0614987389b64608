"""Before a robot moves: its parameter file is drafted, and looked at line by line."""
