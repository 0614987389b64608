"""The page and what it asks for, over HTTP: nothing can be changed by it."""

import asyncio
import ipaddress
import logging
from pathlib import Path
from typing import Any, Protocol

from aiohttp import web

from act_ros import cli
from act_ros.errors import ActError

log = logging.getLogger(__name__)

PAGE = Path(__file__).parent / 'page'
FILES = {'/': 'index.html', '/page.css': 'page.css', '/page.js': 'page.js'}
HEADERS = {
    'Content-Security-Policy': "default-src 'none'; script-src 'self'; style-src 'self'; "
    "img-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'",
    'X-Content-Type-Options': 'nosniff',
    'Referrer-Policy': 'no-referrer',
    'Cache-Control': 'no-store',
}


class Watched(Protocol):
    """What is known of the robot, asked from the server's thread."""

    def state(self) -> dict[str, Any]:
        """All but pictures, as JSON has it."""
        ...

    def picture(self, camera: str) -> bytes | None:
        """What a camera shows, a JPEG; None where nothing is known."""
        ...


def is_here(host: str) -> bool:
    """Whether an address is this machine's alone."""
    if host == 'localhost':
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def make_app(watched: Watched, *, only_here: bool) -> web.Application:
    """The application.

    :param only_here: it is for this machine: what a foreign page makes a browser ask, under a
        foreign name, is refused.
    """

    @web.middleware
    async def guard(request: web.Request, handler: Any) -> web.StreamResponse:
        try:
            if only_here and not is_here(request.url.host or ''):
                raise web.HTTPForbidden(text='this page is for the machine that it runs on')
            response: web.StreamResponse = await handler(request)
        except web.HTTPException as refusal:
            refusal.headers.update(HEADERS)
            raise
        response.headers.update(HEADERS)
        return response

    async def file(request: web.Request) -> web.StreamResponse:
        return web.FileResponse(PAGE / FILES[request.path])

    async def state(request: web.Request) -> web.StreamResponse:
        return web.json_response(watched.state())

    async def picture(request: web.Request) -> web.StreamResponse:
        body = watched.picture(request.match_info['camera'])
        if body is None:
            raise web.HTTPNotFound(text='no picture')
        return web.Response(body=body, content_type='image/jpeg')

    app = web.Application(middlewares=[guard], client_max_size=1024)
    for path in FILES:
        app.router.add_get(path, file)
    app.router.add_get('/state.json', state)
    app.router.add_get('/camera/{camera}.jpg', picture)
    return app


async def _serve(app: web.Application, host: str, port: int) -> None:
    stop, loop = asyncio.Event(), asyncio.get_running_loop()
    for number in cli.stop_signals():
        loop.add_signal_handler(number, stop.set)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.5)
    await runner.setup()
    try:
        await web.TCPSite(runner, host, port).start()
        log.info('http://%s:%d/', f'[{host}]' if ':' in host else host, port)
        await stop.wait()
    finally:
        await runner.cleanup()


def serve(watched: Watched, host: str, port: int, *, insecure: bool) -> None:
    """Serve until a signal asks the process to end; in its main thread.

    :param insecure: any address will do; else this machine's own alone.
    :raises ActError: the address is not served.
    """
    only_here = is_here(host)
    if not only_here and not insecure:
        raise ActError(
            f'{host} is open to the network, and whoever is in it would see the robot and its '
            f'cameras: use 127.0.0.1, by an ssh tunnel for other machines, or say --insecure'
        )
    if not only_here:
        log.warning('whoever can reach %s, port %d, sees the robot and its cameras', host, port)
    try:
        asyncio.run(_serve(make_app(watched, only_here=only_here), host, port))
    except OSError as error:
        raise ActError(
            f'{host}, port {port} cannot be served: {error.strerror or error}; choose another '
            f'--port, or --host'
        ) from None
