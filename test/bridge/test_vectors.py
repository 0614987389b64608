"""docs/zmq.md and its test vectors say what this package reads and writes."""

import json
import math
import pickle
import re
from dataclasses import replace
from itertools import chain

import msgpack
import numpy as np
import pytest

from act_ros import plain_msgpack
from act_ros.bridge import protocol, requests
from act_ros.bridge.pictures import decode_images
from act_ros.bridge.requests import RequestError
from act_ros.config import load_task
from test.bridge import vectors
from test.bridge.servers import ROOT
from test.readme import text

MESSAGES = json.loads(vectors.FILE.read_text())
ENCODINGS = ('pickle', 'msgpack')


def cases(group):
    return [
        pytest.param(encoding, entry, id=f'{name}-{encoding}')
        for name, entry in MESSAGES[group].items()
        for encoding in ENCODINGS
        if encoding in entry
    ]


def stock(encoding, data):
    """As the libraries of clients read it."""
    return pickle.loads(data) if encoding == 'pickle' else msgpack.unpackb(data)


def described(value):
    """As the file describes it, read by the libraries of clients."""
    if isinstance(value, dict):
        if value.keys() == {'dtype', 'shape', 'data'}:
            array = np.frombuffer(value['data'], value['dtype']).reshape(value['shape'])
            return vectors.as_json(array)
        return {key: described(item) for key, item in value.items()}
    return vectors.as_json(value)


def test_the_file_is_what_its_command_writes():
    assert json.loads(json.dumps(vectors.messages())) == MESSAGES
    assert vectors.FILE.stat().st_size < 64 * 1024


def test_they_hold_every_kind_of_request_and_of_reply():
    values = [entry['value'] for entry in MESSAGES['requests'].values()]
    kinds = {value.get('request') for value in values if value != 'RESET'}
    assert kinds == {None, 'act', 'reset', 'info', 'health'}
    assert sum(len(cases(group)) for group in MESSAGES) > 30


@pytest.mark.parametrize(('encoding', 'entry'), [*cases('requests'), *cases('replies')])
def test_libraries_of_clients_read_the_same(encoding, entry):
    assert described(stock(encoding, bytes.fromhex(entry[encoding]))) == entry['value']


@pytest.mark.parametrize(('encoding', 'entry'), cases('requests'))
def test_requests_are_read(encoding, entry):
    got = requests.parse(bytes.fromhex(entry[encoding]))
    want = entry['value']
    if want == 'RESET':
        assert got.kind == 'reset' and got.echo.documented
        return
    assert got.kind == want.get('request', 'act')
    assert got.echo.documented == ('request' not in want) and got.echo.encoding == encoding
    for name in ('id', 'session', 'stamp'):
        assert getattr(got.echo, name) == want.get(name)
    assert (got.step, got.deadline) == (want.get('step'), want.get('deadline', math.inf))
    assert got.reply == want.get('reply', 'action')
    if got.kind == 'act':
        assert vectors.as_json(got.qpos) == want['qpos']
        images = {name: bytes(image) if isinstance(image, bytes | memoryview) else image
                  for name, image in got.images.items()}  # fmt: skip
        assert vectors.as_json(images) == want['images']


def with_arrays(value):
    """What the file says, with arrays as what they are."""
    if not isinstance(value, dict):
        return value
    if value.keys() == {'dtype', 'shape', 'numbers'}:
        return np.array(value['numbers'], value['dtype']).reshape(value['shape'])
    return {name: with_arrays(item) for name, item in value.items()}


@pytest.mark.parametrize(('encoding', 'entry'), cases('replies'))
def test_replies_are_written(encoding, entry):
    echo = requests.parse(bytes.fromhex(MESSAGES['requests'][entry['of']][encoding])).echo
    value = dict(entry['value'])
    if value.pop('status') == 'ERROR':
        epoch, code = value.get('epoch', 'any'), value.get('error', 'loading')
        data = requests.error(echo, epoch, code, value['message'])
    else:
        for name in ('id', 'session', 'stamp'):
            value.pop(name, None)
        data = requests.ok(echo, value.pop('epoch', 'any'), **with_arrays(value))
    assert data.hex() == entry[encoding]


@pytest.mark.parametrize(('encoding', 'entry'), cases('refused'))
def test_wrong_requests_are_refused_in_those_words(encoding, entry):
    with pytest.raises(RequestError) as caught:
        requests.parse(bytes.fromhex(entry[encoding]))
    assert str(caught.value) == entry['message']


def test_the_png_shows_the_array():
    images = requests.parse(vectors.request('act', 'msgpack')).images
    decoded = decode_images(images, replace(load_task(), cameras=('wrist',), image_size=(2, 3)))
    np.testing.assert_array_equal(decoded['wrist'], decoded['front'])
    np.testing.assert_array_equal(decoded['front'], vectors.IMAGE)


# --- the description


DOCUMENT = (ROOT / 'docs/zmq.md').read_text()


def listed(header):
    """What the first column of a table names."""
    return {name for row in text.rows(DOCUMENT, header) for name in text.code(row.split('|')[1])}


def test_the_description_has_all_fields_and_codes():
    assert listed('field | of | value') == {'request', *chain(*requests.FIELDS.values())}
    assert listed('code | meaning | what to do') == {*requests.CODES}
    values = [entry['value'] for entry in MESSAGES['replies'].values()]
    found = {name for value in values for name in value}
    assert listed('field | in a reply to | value') == found | {'info', 'health'}


@pytest.mark.parametrize('what', ['info', 'health'])
def test_the_description_has_all_that_is_told(what):
    told = MESSAGES['replies'][f'reply to {what}']['value'][what]
    assert listed(f'`{what}` | value') == {*told}


def test_the_description_has_the_numbers_that_count():
    for number in (
        f'{protocol.MAX_MESSAGE_BYTES >> 20} MiB', f'{plain_msgpack.MAX_KEYS} at most',
        f'{plain_msgpack.MAX_KEY} bytes each', f'{plain_msgpack.MAX_TEXT >> 10} KiB',
        f'{plain_msgpack.MAX_DEPTH} levels', f'{protocol.MAX_OPCODES:,} opcodes',
    ):  # fmt: skip
        assert number in DOCUMENT
    assert all(code.replace('|', r'\|') in DOCUMENT for code in plain_msgpack.DTYPES)


def test_the_bytes_in_the_description_are_those_of_the_vectors():
    lines = text.blocks(DOCUMENT)[0].text.splitlines()
    for encoding, line in zip(('msgpack', 'pickle'), lines, strict=True):
        digits = re.sub('"(.*?)"', lambda found: found[1].encode().hex(), line).replace(' ', '')
        assert digits == MESSAGES['requests']['reset'][encoding]


@pytest.mark.parametrize(('language', 'suffix'), [
    ('python', 'py'), ('cpp', 'cpp'), ('javascript', 'mjs')])  # fmt: skip
def test_the_examples_in_the_description_are_those_that_are_run(language, suffix):
    (block,) = [block for block in text.blocks(DOCUMENT) if block.language == language]
    assert block.text in (ROOT / f'examples/zmq_client.{suffix}').read_text()
