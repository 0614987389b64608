"""Before a robot moves: does its parameter file fit the policy, its topics and its ranges?"""
