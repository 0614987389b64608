"""Pages looked at in a real browser, where one is installed."""

import asyncio
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import cv2
import numpy as np
import pytest

from test.waiting import wait_until

CHROMIUM = shutil.which('chromium') or shutil.which('google-chrome')
FLAGS = (
    '--headless', '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run',
    '--disable-background-networking', '--disable-component-update', '--disable-sync',
)  # fmt: skip
needed = pytest.mark.skipif(CHROMIUM is None, reason='no chromium is installed')


def opened(page: Path, *flags: str) -> 'subprocess.CompletedProcess[str]':
    """Open a file in the browser without a window, and end it."""
    return _opened(page.as_uri(), page.with_name(f'profile of {page.stem}'), *flags)


def document(url: str, profile: Path) -> str:
    """What a page has become after some seconds of its own time; it must not complain."""
    said = _opened(url, profile, '--virtual-time-budget=4000', '--timeout=10000', '--dump-dom')
    assert 'CONSOLE' not in said.stderr, said.stderr
    return said.stdout


@contextmanager
def living(url: str, profile: Path) -> Iterator[Callable[[str], object]]:
    """A page that stays open; gives what evaluates an expression of its own in it."""
    process = subprocess.Popen(
        [CHROMIUM or '', *FLAGS, f'--user-data-dir={profile}', '--remote-debugging-port=0', url],
        stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        port = wait_until(
            lambda: (profile / 'DevToolsActivePort').exists()
            and (profile / 'DevToolsActivePort').read_text().split()[:1], 30, 'a browser',
        )[0]  # fmt: skip

        async def ask(expression: str) -> object:
            import aiohttp

            async with aiohttp.ClientSession() as session:
                async with session.get(f'http://127.0.0.1:{port}/json') as pages:
                    found = [page for page in await pages.json() if page['type'] == 'page']
                async with session.ws_connect(found[0]['webSocketDebuggerUrl']) as talk:
                    about = {'expression': expression}
                    await talk.send_json({'id': 1, 'method': 'Runtime.evaluate', 'params': about})
                    answer = await talk.receive_json(timeout=10)
                    return answer['result']['result'].get('value')

        yield lambda expression: asyncio.run(ask(expression))
    finally:
        process.kill()
        process.wait()


def _opened(url: str, profile: Path, *flags: str) -> 'subprocess.CompletedProcess[str]':
    return subprocess.run(
        [CHROMIUM or '', *FLAGS, f'--user-data-dir={profile}', '--enable-logging=stderr',
         '--hide-scrollbars', *flags, url],
        capture_output=True, text=True, timeout=120, check=True,
    )  # fmt: skip


def picture(page: Path, width: int, height: int, *, dark: bool = False) -> np.ndarray:
    """What is seen of a file, BGR; it must not complain."""
    file = page.with_suffix('.png')
    scheme = ['--blink-settings=preferredColorScheme=0'] if dark else []
    said = opened(page, f'--window-size={width},{height}', f'--screenshot={file}', *scheme)
    assert 'CONSOLE' not in said.stderr
    pixels = cv2.imread(str(file))
    assert pixels is not None and pixels.shape == (height, width, 3)
    return pixels
