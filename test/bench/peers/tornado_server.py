#!/usr/bin/python3
"""bench_server with Tornado 6: the same modes on its IOStream, with coroutines.

    tornado_server.py MODE PORT [--tls CERTIFICATE KEY]
"""

import re
import ssl
import sys

from tornado.ioloop import IOLoop
from tornado.iostream import StreamClosedError
from tornado.netutil import bind_sockets
from tornado.tcpserver import TCPServer

BACKLOG = 4096
MAX_LINE = 1024 * 1024
MESSAGE_SIZE = 65536
RESPONSE = (b'HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n'
            b'Content-Length: 12\r\n\r\nHello, world')
PIECE = b'x' * MESSAGE_SIZE


async def echo_lines(stream):
    while True:
        await stream.write(await stream.read_until(b'\n', MAX_LINE))


async def echo_messages(stream):
    while True:
        await stream.write(await stream.read_bytes(MESSAGE_SIZE))


async def read_to_the_end(stream):
    while True:
        await stream.read_bytes(MESSAGE_SIZE, partial=True)


async def send_what_is_asked(stream):
    line = await stream.read_until(b'\n', MAX_LINE)
    number = re.match(rb'\d+', line)
    left = int(number[0]) if number else 0
    while left:
        size = min(left, MESSAGE_SIZE)
        await stream.write(PIECE[:size])
        left -= size
    await read_to_the_end(stream)


async def answer_requests(stream):
    while True:
        await stream.read_until(b'\r\n\r\n', MAX_LINE)
        await stream.write(RESPONSE)


async def echo_one_line(stream):
    await stream.write(await stream.read_until(b'\n', MAX_LINE))


MODES = {
    'line': echo_lines,
    'line2': echo_lines,
    'bytes64k': echo_messages,
    'sink': read_to_the_end,
    'source': send_what_is_asked,
    'http': answer_requests,
    'churn': echo_one_line,
}


class Server(TCPServer):
    """Serves every client in the same mode."""

    def __init__(self, mode, **options):
        super().__init__(**options)
        self.mode = mode

    async def handle_stream(self, stream, address):
        if self.mode != 'churn':
            stream.set_nodelay(True)
        try:
            await MODES[self.mode](stream)
        except StreamClosedError:
            pass
        finally:
            stream.close()


class UsageError(Exception):
    """What is wrong with the command line."""


def parse_port(text):
    """The number of a port."""
    if not re.fullmatch(r'[0-9]{1,5}', text) or int(text) > 65535:
        raise UsageError(f'not a port: {text}')
    return int(text)


def serve(arguments):
    """Does what the command line says, for ever."""
    tls = len(arguments) == 5 and arguments[2] == '--tls'
    if len(arguments) != 2 and not tls:
        raise UsageError(
            'usage: tornado_server.py MODE PORT [--tls CERTIFICATE KEY]')
    mode, port = arguments[0], parse_port(arguments[1])
    if mode not in MODES:
        raise UsageError(f'no such mode: {mode}')
    context = None
    if tls:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*arguments[3:])
    server = Server(mode, ssl_options=context)
    sockets = bind_sockets(port, '127.0.0.1', backlog=BACKLOG)
    server.add_sockets(sockets)
    print(f'listening on {sockets[0].getsockname()[1]}', flush=True)
    IOLoop.current().start()


if __name__ == '__main__':
    try:
        serve(sys.argv[1:])
    except (OSError, UsageError) as error:
        print(f'tornado_server.py: {error}', file=sys.stderr)
        sys.exit(2 if isinstance(error, UsageError) else 1)
