"""The layouts for Foxglove and PlotJuggler, against what the node publishes."""

from diagnostic_msgs.msg import DiagnosticArray
from trajectory_msgs.msg import JointTrajectory

from test import layouts
from test.nodes.graph import JOINTS, run_node
from test.waiting import wait_until


def test_the_plan_and_the_diagnostics_have_all_that_is_drawn(graph, ckpt, tmp_path):
    plans, reports = [], []
    graph.node.create_subscription(JointTrajectory, '/act/chunk', plans.append, 10)
    graph.node.create_subscription(DiagnosticArray, '/diagnostics', reports.append, 10)

    def complete():
        told = {pair.key for r in reports[-1:] for status in r.status for pair in status.values}
        return {'seam', 'inference_p99_ms'} <= told and reports[-1]

    with run_node(tmp_path, ckpt, publish_chunk=True) as node:
        graph.activate(node)
        wait_until(lambda: plans, 20, lambda: node.log)
        report = wait_until(complete, 20, lambda: reports[-1:])
    assert plans[-1].joint_names == JOINTS  # the places that the layouts draw
    messages = {'/act/chunk': plans[-1], '/diagnostics': report}
    paths, curves = layouts.all_found(messages)
    assert len(paths) > 10 and len(curves) > 20
    panels = layouts.foxglove()['configById']
    chosen = panels['DiagnosticStatusPanel!control']
    assert chosen['topicToRender'] == '/diagnostics'
    assert chosen['selectedName'] in {status.name for status in report.status}
    assert {status.hardware_id for status in report.status} == {'act'}
    assert chosen['selectedHardwareId'] == 'act'
