#!/usr/bin/env python3
"""Tornado at the other end of a TLS connection.

tornado_tls.py serve CERT KEY   echoes lines, upside down; prints "port N"
tornado_tls.py talk PORT CA     sends "hello", prints the line that comes back
"""
import asyncio
import ssl
import sys

import tornado.iostream
import tornado.tcpclient
import tornado.tcpserver


class Reversing(tornado.tcpserver.TCPServer):
    async def handle_stream(self, stream, address):
        try:
            while True:
                line = await stream.read_until(b'\n')
                await stream.write(line[-2::-1] + b'\n')
        except tornado.iostream.StreamClosedError:
            pass


async def serve(certificate, key):
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate, key)
    server = Reversing(ssl_options=context)
    server.listen(0, '127.0.0.1')
    socket, = server._sockets.values()
    print('port', socket.getsockname()[1], flush=True)
    await asyncio.Event().wait()


async def talk(port, authority):
    context = ssl.create_default_context(cafile=authority)
    stream = await tornado.tcpclient.TCPClient().connect(
        'localhost', int(port), af=2, ssl_options=context)
    await stream.write(b'hello\n')
    print((await stream.read_until(b'\n')).decode(), end='', flush=True)
    print(await stream.read_until_close())


asyncio.run({'serve': serve, 'talk': talk}[sys.argv[1]](*sys.argv[2:]))
