"""Fuzz one target, and keep what was found: see the package."""

import argparse
import os
import random
import resource
import subprocess
import sys
import tempfile
from importlib.util import find_spec
from pathlib import Path

from test import fuzz

ROOT = Path(__file__).parents[2]
NAMES = ('msgpack', 'picture', 'pickle', 'request', 'zmtp')
MAX_LENGTH = 2048  # bytes of an input
# libFuzzer starts itself by its first argument, which has to be a program.
PROGRAM = """#!/bin/sh
exec {python} -c 'from test.fuzz.__main__ import fuzzer; fuzzer("{target}")' "$0" "$@"
"""
# What leads nowhere if one byte of it is wrong.
WORDS = {
    'pickle': (
        b'cnumpy\nndarray\n', b'cnumpy\ndtype\n', b'c_codecs\nencode\n', b'cbuiltins\nbytes\n',
        b'cbuiltins\nbytearray\n', b'cnumpy.core.multiarray\n_reconstruct\n',
        b'cnumpy._core.multiarray\nscalar\n', b'cnumpy._core.numeric\n_frombuffer\n',
        b'X\2\0\0\0f4\x89\x88\x87R', b'X\2\0\0\0b1\x89\x88\x87R', b'V<\n', b'Vlatin1\n\x86R',
        b'NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\0tb', b'I01\n', b'I-0\n', b'I010\n',
        b'\\x41', b'\\u0041',
    ),
    'msgpack': (b'\x83\xa5dtype', b'\xa5shape', b'\xa4data', b'\xa3<f4', b'\xa3|u1'),
    'request': (
        b'request', b'act', b'reset', b'info', b'health', b'session', b'id', b'step', b'stamp',
        b'deadline', b'reply', b'action', b'chunk', b'qpos', b'images', b'eye',
    ),
    'picture': (
        b'\x89PNG\r\n\x1a\n', b'IHDR', b'IDAT', b'IEND', b'\xff\xd8', b'\xff\xd9', b'\xff\xc0',
        b'\xff\xc2', b'\xff\xda', b'\xff\xc4', b'\xff\xdb', b'\xff\xdd', b'\xff\xee\0\x0eAdobe',
        b'\xff\xe0\0\x10JFIF\0', b'\0\4\0\6\3',
    ),
    'zmtp': (
        b'\xff' + bytes(8) + b'\x7f\x03', b'NULL' + bytes(16), b'OPEN' + bytes(16), b'\5READY',
        b'\x0bSocket-Type', b'\0\0\0\3REQ', b'\0\0\0\6DEALER', b'\x08Identity', b'\4PING',
        b'\5ERROR', bytes(6) + b'\4',
    ),
}  # fmt: skip


def main(argv: list[str] | None = None) -> int:
    """Run the command line and return its exit code: 1 where something was found."""
    parser = argparse.ArgumentParser(
        prog='python -m test.fuzz', description=fuzz.__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    parser.add_argument('target', choices=NAMES)
    parser.add_argument('--seconds', type=int, default=60, help='how long (default: 60)')
    parser.add_argument('--keep', action='store_true', help='add what is new to corpus.json')
    parser.add_argument('--add', metavar='FOLDER', type=Path, help='further inputs, one a file')
    arguments = parser.parse_args(argv)
    if find_spec('atheris') is None:
        print('atheris is not installed; pip install atheris', file=sys.stderr)
        return 2
    with tempfile.TemporaryDirectory() as folder:
        return _run(Path(folder), arguments)


def _run(folder: Path, arguments: argparse.Namespace) -> int:
    target, old, new = arguments.target, folder / 'old', folder / 'new'
    old.mkdir()
    new.mkdir()
    added = [path.read_bytes() for path in arguments.add.iterdir()] if arguments.add else []
    for i, data in enumerate([*fuzz.corpus().get(target, ()), *added]):
        (old / str(i)).write_bytes(data)
    words = folder / 'words'
    words.write_text('\n'.join(
        '"' + ''.join(f'\\x{byte:02x}' for byte in word) + '"' for word in WORDS[target]
    ) + '\n')  # fmt: skip
    program = folder / 'fuzzer'
    program.write_text(PROGRAM.format(python=sys.executable, target=target))
    program.chmod(0o700)
    code = _fuzzer(program, f'-max_total_time={arguments.seconds}', f'-dict={words}', old)
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    print(f'{target}: {used.ru_utime + used.ru_stime:.0f} s of CPU time', flush=True)
    if code:
        return 1
    if arguments.keep:
        code = _fuzzer(program, '-merge=1', new, old)
        # Read anew: another target's run may have written it meanwhile.
        fuzz.store({**fuzz.corpus(), target: [path.read_bytes() for path in new.iterdir()]})
    return min(code, 1)


def _fuzzer(program: Path, *arguments: object) -> int:
    """Run libFuzzer, which ends its process itself, and return the exit code."""
    (ROOT / 'out').mkdir(exist_ok=True)
    options = [f'-max_len={MAX_LENGTH}', '-timeout=10', '-rss_limit_mb=1024']
    options += ['-print_final_stats=1', f'-artifact_prefix={ROOT}/out/']
    command = [*map(str, (program, *options, *arguments))]
    environment = {**os.environ, 'PYTHONPATH': str(ROOT)}
    return subprocess.run(command, env=environment, check=False).returncode


def fuzzer(target: str) -> None:
    """What `PROGRAM` does; it never returns."""
    import atheris

    with atheris.instrument_imports(include=['act_ros']):
        from test.fuzz.targets import TARGETS
    from test.fuzz.pickles import mutated

    def mutate(data: bytes, size: int, seed: int) -> bytes:
        rng = random.Random(seed)
        other = mutated(data, rng) if rng.random() < 0.5 else b''
        return other if 0 < len(other) <= size else atheris.Mutate(data, size)

    run = TARGETS[target]
    options = {'custom_mutator': mutate} if target == 'pickle' else {}
    atheris.Setup(sys.argv[1:], lambda data: run(data), **options)
    atheris.Fuzz()


if __name__ == '__main__':
    sys.exit(main())
