"""How often and how well does a policy do the simulated robot's task?"""
