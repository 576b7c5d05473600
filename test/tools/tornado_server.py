#!/usr/bin/env python3
"""Serves what http_fetch's tests fetch from Tornado's own HTTP server.

Prints "serving (http://127.0.0.1:PORT/)" when it listens.
"""
import asyncio
import signal

import tornado.httpserver
import tornado.netutil
import tornado.web

LARGE = 64 << 20
PIECE = bytes(range(256)) * 256


class Hello(tornado.web.RequestHandler):
    def get(self):
        self.write('hello from Tornado\n')


class Chunked(tornado.web.RequestHandler):
    """Tornado sends chunks to clients of HTTP/1.1 only, unless it is told to."""

    async def get(self):
        self.set_header('Transfer-Encoding', 'chunked')
        for piece in (b'one ', b'two ', PIECE, b' three\n'):
            self.write(b'%x\r\n%b\r\n' % (len(piece), piece))
            await self.flush()
        self.write(b'0\r\n\r\n')


class Large(tornado.web.RequestHandler):
    async def get(self):
        self.set_header('Content-Length', str(LARGE))
        for _ in range(LARGE // len(PIECE)):
            self.write(PIECE)
            await self.flush()


class Endless(tornado.web.RequestHandler):
    """A large body whose length only its end tells."""

    async def get(self):
        for _ in range(LARGE // len(PIECE)):
            self.write(PIECE)
            await self.flush()


async def main():
    application = tornado.web.Application([
        ('/hello', Hello),
        ('/chunked', Chunked),
        ('/large', Large),
        ('/endless', Endless),
        ('/redirect', tornado.web.RedirectHandler,
         {'url': '/a/../hello', 'permanent': False}),
    ])
    sockets = tornado.netutil.bind_sockets(0, '127.0.0.1')
    tornado.httpserver.HTTPServer(application).add_sockets(sockets)
    port = sockets[0].getsockname()[1]
    print(f'serving (http://127.0.0.1:{port}/)', flush=True)

    stopped = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopped.set)
    await stopped.wait()


asyncio.run(main())
