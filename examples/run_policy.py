#!/usr/bin/env python3
"""Go to the start pose, then let the policy act: what a behaviour tree does, in Python.

    python3 run_policy.py 30            # seconds; node /act, or as the second argument

The node is configured and inactive, and act_ros_interfaces is built. Ctrl-C cancels: the robot
brakes. The exit code is 0 where both goals have succeeded.
"""

import sys

import rclpy
from builtin_interfaces.msg import Duration
from rclpy.action import ActionClient
from rclpy.node import Node
from rclpy.signals import SignalHandlerOptions

from act_ros_interfaces.action import Run


def run(node: Node, action: str, seconds: int) -> bool:
    """Send a goal, say how it goes, and wait for its end; whether it has succeeded."""
    client = ActionClient(node, Run, action)
    if not client.wait_for_server(timeout_sec=10):
        print(f'{action}: no server; does the node run, and is act_ros_interfaces built?')
        return False
    goal = Run.Goal(max_duration=Duration(sec=seconds))
    sent = client.send_goal_async(goal, lambda message: tell(message.feedback))
    rclpy.spin_until_future_complete(node, sent)
    handle = sent.result()
    if not handle.accepted:
        print(f'{action}: rejected, another goal is carried out')
        return False
    ended = handle.get_result_async()
    try:
        rclpy.spin_until_future_complete(node, ended)
    except KeyboardInterrupt:
        handle.cancel_goal_async()
        rclpy.spin_until_future_complete(node, ended)
    result = ended.result().result
    print(f'\n{action}: {result.message}; limited: {", ".join(result.limited) or "nothing"}')
    return result.outcome == Run.Result.DONE


def tell(feedback: Run.Feedback) -> None:
    """One line that is written again and again."""
    print(f'\r{feedback.state}, step {feedback.step}', end='', flush=True)


def main() -> int:
    """Run both goals, the second where the first has succeeded."""
    seconds, name = int(sys.argv[1]), (*sys.argv[2:], '/act')[0]
    # So that Ctrl-C does not end the context before the goal is cancelled.
    rclpy.init(signal_handler_options=SignalHandlerOptions.NO)
    node = rclpy.create_node('run_policy')
    try:
        done = run(node, f'{name}/return_to_start', 60) and run(node, f'{name}/run', seconds)
    finally:
        node.destroy_node()
        rclpy.try_shutdown()
    return 0 if done else 1


if __name__ == '__main__':
    sys.exit(main())
