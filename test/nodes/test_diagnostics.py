"""What `/diagnostics` says of threads that are no more."""

from diagnostic_msgs.msg import DiagnosticStatus

from act_ros.nodes.diagnostics import Report
from test.nodes.test_controller import running
from test.waiting import wait_until

__all__ = ['running']


def statuses(controller):
    message = Report('/act').message('active', '', None, controller, None, 0, {})
    return {status.name.removeprefix('/act: '): status for status in message.status}


def values(status):
    return {pair.key: pair.value for pair in status.values}


def test_an_activation_at_work(running):
    controller, _ = running
    control, inference = statuses(controller)['control'], statuses(controller)['inference']
    assert (control.level, control.message) == (DiagnosticStatus.OK, 'active')
    assert values(control)['control'] == 'running'
    assert 0 <= float(values(control)['tick_age_s']) < 5
    assert values(control)['log_lines_dropped'] == '0'
    entries = {str(entry) for entry in controller.loop.motion.entries}
    wait_until(lambda: 'jerk_rms' in values(statuses(controller)['control']), 10, 'its motion')
    motion = values(statuses(controller)['control'])
    for figure in ('jerk_rms', 'jerk_max', 'seam'):
        assert float(motion[figure]) >= 0
        assert motion[f'{figure}_entry'] in entries
    assert (inference.level, inference.message) == (DiagnosticStatus.OK, 'running')


def test_an_inference_thread_that_has_ended_is_an_error(running):
    controller, _ = running
    controller.inference.close(timeout=5)
    status = statuses(controller)['inference']
    assert status.level == DiagnosticStatus.ERROR
    assert status.message.startswith('the inference thread has ended')


def test_a_pass_that_failed_is_said_where_one_looks_for_it(running):
    controller, _ = running

    def fail(observe):
        observe()
        raise MemoryError('no room')

    controller.inference._policy.predict_newest = fail
    wait_until(
        lambda: statuses(controller)['inference'].message == 'inference: MemoryError: no room', 10,
        lambda: statuses(controller)['inference'].message,
    )  # fmt: skip
    assert statuses(controller)['inference'].level == DiagnosticStatus.WARN
