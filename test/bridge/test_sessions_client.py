"""`PolicyClient` with a session: episodes that survive time-outs and connections, or say so."""

import threading
from contextlib import closing

import numpy as np
import pytest
import zmq

from act_ros import plain_msgpack
from act_ros.bridge.channel import Channel
from act_ros.bridge.client import (
    PolicyClient,
    PolicyTimeoutError,
    ServerError,
    SessionLostError,
)
from act_ros.bridge.keys import make_client, make_server
from act_ros.errors import ActError
from test.bridge.proxy import Proxy, Router
from test.bridge.servers import ANY_PORT, PATIENCE, SIGHT, Steps, answering, serving
from test.waiting import wait_until

QPOS, _ = SIGHT


def session(endpoint, timeout=PATIENCE, session='a', **options):
    return PolicyClient(endpoint, timeout=timeout, session=session, **options)


def test_it_gives_the_actions_of_the_reference(server, reference):
    with session(server.endpoint) as client:
        client.reset()
        for i in range(3):
            action = client.act(*reference.observation(i), step=i)
            assert action.flags.writeable and action.dtype == np.float64
            np.testing.assert_allclose(action, reference.aggregated[i], atol=1e-4, rtol=0)
        chunk = client.chunk(*reference.observation(0))
        np.testing.assert_allclose(chunk[0], reference.aggregated[0], atol=1e-4, rtol=0)


def test_what_is_lost_is_sent_again_and_is_one_step():
    with (
        serving(Steps()) as server,
        Proxy(server.endpoint) as proxy,
        session(proxy.endpoint) as client,
    ):
        client.reset()
        for _ in range(10):  # so that it knows how long it takes
            client.act(*SIGHT)
        proxy.loss = 0.3
        steps = [client.act(*SIGHT).item() for _ in range(40)]
        assert proxy.lost > 10
    assert steps == list(range(11, 51))


def test_a_late_answer_is_taken_for_no_other():
    policy = Steps(blocked=True)
    with serving(policy) as server, session(server.endpoint, 0.3) as client:
        client.reset()
        with pytest.raises(PolicyTimeoutError, match=r'within 0\.3 s; is the server running'):
            client.act(*SIGHT)
        policy.go.set()
        wait_until(lambda: server.figures.requests['ok'] >= 2, PATIENCE, 'the late answer')
        assert client.act(*SIGHT).item() == 2


def test_a_server_that_was_started_anew_is_an_error_of_its_own():
    with serving(Steps()) as server:
        endpoint = server.endpoint
        client = session(endpoint)
        client.reset()
        client.act(*SIGHT)
    with client, serving(Steps(), endpoint):
        with pytest.raises(SessionLostError, match="there is no session 'a'") as caught:
            client.act(*SIGHT)
        assert caught.value.code == 'no_session'
        client.reset()
        assert client.act(*SIGHT).item() == 1


def test_an_episode_that_another_has_begun_since_a_restart_is_taken_for_no_other():
    with serving(Steps()) as server:
        endpoint = server.endpoint
        first, second = session(endpoint), session(endpoint)
        first.reset()
        first.act(*SIGHT)
    with first, second, serving(Steps(), endpoint):
        second.reset()
        for _ in range(2):
            with pytest.raises(SessionLostError, match="started anew, where session 'a' is"):
                first.act(*SIGHT)
        first.reset()
        first.act(*SIGHT)


@pytest.mark.parametrize('id', [None, 7, [7], 1.5, QPOS])
def test_a_reply_that_is_of_no_request_is_not_taken(id):
    with zmq.Context() as context, context.socket(zmq.REP) as peer:
        peer.bind(ANY_PORT)
        endpoint = peer.getsockopt_string(zmq.LAST_ENDPOINT)
        reply = {'status': 'OK', 'epoch': 'e', 'id': id, 'action': QPOS}
        message = plain_msgpack.dumps({k: v for k, v in reply.items() if v is not None})
        with (
            session(endpoint, 0.3) as client,
            answering(peer, message),
            pytest.raises(PolicyTimeoutError),
        ):
            client.act(*SIGHT)


def test_an_error_of_a_request_that_could_not_be_read_is_taken():
    with zmq.Context() as context, context.socket(zmq.REP) as peer:
        peer.bind(ANY_PORT)
        endpoint = peer.getsockopt_string(zmq.LAST_ENDPOINT)
        reply = {'status': 'ERROR', 'error': 'bad_request', 'message': 'nested too deep'}
        with (
            session(endpoint) as client,
            answering(peer, plain_msgpack.dumps(reply)),
            pytest.raises(ServerError, match='nested too deep'),
        ):
            client.act(*SIGHT)


def test_errors_have_their_code():
    with serving(Steps()) as server, session(server.endpoint) as client:
        client.reset()
        client.act(*SIGHT, step=7)
        with pytest.raises(ServerError, match='step 3 is over: step 8') as caught:
            client.act(*SIGHT, step=3)
        assert caught.value.code == 'old_step'
        with pytest.raises(ServerError, match=r'qpos has shape \(3,\)') as caught:
            client.act(np.zeros(3, np.float32), SIGHT[1])
        assert caught.value.code == 'bad_observation'


def test_a_server_that_hangs_and_comes_back_is_found_again():
    with (
        serving(Steps()) as server,
        Proxy(server.endpoint) as proxy,
        session(proxy.endpoint, 0.2) as client,
    ):
        client.reset()
        proxy.out = True
        for _ in range(8):
            with pytest.raises(PolicyTimeoutError):
                client.act(*SIGHT)
        proxy.out = False
        assert client.act(*SIGHT).item() >= 1


def test_a_connection_that_nobody_knows_any_more_is_made_anew():
    with (
        serving(Steps()) as server,
        Router(server.endpoint) as router,
        closing(Channel(router.endpoint, silence=0.3)) as channel,
    ):

        def answered():
            question = {'request': 'health', 'id': channel.next_id()}
            try:
                return channel.ask(question, 0.1)['status'] == 'OK'
            except PolicyTimeoutError:
                return False

        wait_until(answered, PATIENCE, 'an answer')
        for _ in range(2):
            router.forget()
            assert not answered()
            wait_until(answered, PATIENCE, 'an answer again')
        assert router.connections == 3


def test_jpeg_goes_as_such(server, reference):
    qpos, images = reference.observation(0)
    with session(server.endpoint) as raw, session(server.endpoint, jpeg_quality=95) as jpeg:
        exact, near = raw.chunk(qpos, images), jpeg.chunk(qpos, images)
    assert 0 < np.abs(exact - near).max() < 0.5


def test_with_keys_it_is_let_in_and_without_not(tmp_path):
    make_server(tmp_path)
    make_client(tmp_path, 'arm')
    mine = tmp_path / 'mine'
    mine.mkdir()
    for name in ('server.key', 'clients/arm.key_secret'):
        (tmp_path / name).rename(mine / name.rsplit('/', 1)[-1])
    with serving(Steps(), zmq_curve_dir=str(tmp_path)) as server:
        for name in ('', 'a'):
            with session(server.endpoint, session=name, curve_dir=mine) as client:
                client.reset()
                client.act(*SIGHT)
            with (
                session(server.endpoint, 0.3, session=name) as stranger,
                pytest.raises(PolicyTimeoutError),
            ):
                stranger.reset()
    with pytest.raises(ActError, match=r'has 0 \*\.key_secret of a client, expected one'):
        PolicyClient(curve_dir=tmp_path)


def test_what_fits_no_client_is_refused():
    with pytest.raises(ActError, match='jpeg_quality is 101, expected 0 to 100'):
        PolicyClient(jpeg_quality=101)
    with PolicyClient() as client, pytest.raises(ActError, match='a step belongs to a session'):
        client.act(*SIGHT, step=3)


def test_what_nobody_waits_for_any_more_is_not_run():
    policy = Steps(blocked=True)
    with (
        serving(policy) as server,
        session(server.endpoint) as first,
        session(server.endpoint, 0.2, session='b') as second,
    ):
        first.reset()
        thread = threading.Thread(target=first.act, args=SIGHT)
        thread.start()
        wait_until(lambda: policy.waiting, PATIENCE, 'a pass')
        second.reset()
        with pytest.raises(PolicyTimeoutError):
            second.act(*SIGHT)
        wait_until(lambda: server.figures.requests['expired'] >= 1, PATIENCE, 'its end')
        policy.go.set()
        thread.join(PATIENCE)
        assert second.act(*SIGHT).item() == 2
