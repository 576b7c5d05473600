#!/usr/bin/env python3
"""Runs a program where every name is a stub DNS server's.

with_stub_dns.py PROGRAM [ARGUMENT...]

The program gets namespaces of its own (unshare(1)): a network that is only the
loopback interface, with a DNS server on 127.0.0.1:53, UDP and TCP, and its own
resolv.conf, nsswitch.conf and hosts. It finds WATERSPOUT_STUB_DNS in its
environment. Exits with the program's status, or with 77 where the system lets
nobody make namespaces.

What a name is answered depends on its first label; see Stub.
"""
import os
import pathlib
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time

SKIPPED = 77
TIME_LIMIT = 150  # seconds
FILES = {
    'resolv.conf': 'nameserver 127.0.0.1\noptions timeout:1 attempts:1\n',
    'nsswitch.conf': 'hosts: files dns\n',
    'hosts': '127.0.0.1 localhost\n127.0.0.7 inhosts.test\n',
}
A, AAAA = 1, 28
NOERROR, SERVFAIL, NXDOMAIN = 0, 2, 3
RESPONSE = 0x8180  # an answer; recursion desired and available
TRUNCATED = 0x0200


class Question:
    """The first question of a request."""

    def __init__(self, request):
        self.request = request
        at, labels = 12, []
        while request[at]:
            labels.append(request[at + 1:at + 1 + request[at]].decode())
            at += 1 + request[at]
        self.end = at + 5
        self.label = labels[0].lower()
        self.kind, = struct.unpack('>H', request[at + 1:at + 3])

    def answer(self, addresses=(), code=NOERROR, flags=0):
        records = b''.join(
            b'\xc0\x0c' + struct.pack('>HHIH', self.kind, 1, 1, len(address))
            + address for address in addresses)
        head = self.request[:2] + struct.pack('>HHHHH', RESPONSE | flags | code,
                                              1, len(addresses), 0, 0)
        return head + self.request[12:self.end] + records


def ipv4(*texts):
    return [socket.inet_pton(socket.AF_INET, text) for text in texts]


def ipv6(*texts):
    return [socket.inet_pton(socket.AF_INET6, text) for text in texts]


class Stub:
    """One method for each first label. None is no answer."""

    ADDRESSES = {
        'four': (ipv4('127.0.0.1'), []),
        'six': ([], ipv6('::1')),
        'dual': (ipv4('127.0.0.1'), ipv6('::1')),
        'six-unreachable': (ipv4('127.0.0.1'), ipv6('2001:db8::1')),
        'four-unreachable': (ipv4('192.0.2.1'), ipv6('::1')),
        'unreachable': (ipv4('192.0.2.1'), ipv6('2001:db8::1')),
        'twice': (ipv4('127.0.0.1', '127.0.0.1'), []),
        'slow': (ipv4('127.0.0.1'), []),
        'empty': ([], []),
        # Both too much for UDP.
        'truncated': (ipv4('127.0.0.1'), []),
        'many': (ipv4(*(f'127.0.{i // 250}.{1 + i % 250}'
                        for i in range(500))), []),
    }

    def reply(self, request, by_tcp):
        question = Question(request)
        label = question.label
        if label == 'drop':
            return None
        if label == 'garbage':
            return b'\xff' * 7
        if label == 'servfail':
            return question.answer(code=SERVFAIL)
        if label not in self.ADDRESSES:
            return question.answer(code=NXDOMAIN)
        if label == 'slow':
            time.sleep(0.3)
        if label in ('truncated', 'many') and not by_tcp:
            return question.answer(flags=TRUNCATED)
        four, six = self.ADDRESSES[label]
        kinds = {A: four, AAAA: six}
        return question.answer(kinds.get(question.kind, []))

    def answer_udp(self, server, request, client):
        reply = self.reply(request, by_tcp=False)
        if reply is not None:
            server.sendto(reply, client)

    def serve_udp(self, server):
        while True:
            request, client = server.recvfrom(2048)
            if Question(request).label == 'slow':
                in_background(self.answer_udp, server, request, client)
            else:  # a burst of questions must not fill the socket
                self.answer_udp(server, request, client)

    def answer_tcp(self, connection):
        with connection, connection.makefile('rb') as requests:
            while len(size := requests.read(2)) == 2:
                request = requests.read(struct.unpack('>H', size)[0])
                reply = self.reply(request, by_tcp=True)
                if reply is not None:
                    connection.sendall(struct.pack('>H', len(reply)) + reply)

    def serve_tcp(self, server):
        while True:
            in_background(self.answer_tcp, server.accept()[0])


def in_background(function, *arguments):
    threading.Thread(target=function, args=arguments, daemon=True).start()


def start_stub():
    udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    udp.bind(('127.0.0.1', 53))
    tcp = socket.create_server(('127.0.0.1', 53))
    stub = Stub()
    in_background(stub.serve_udp, udp)
    in_background(stub.serve_tcp, tcp)


def run_inside(command):
    with tempfile.TemporaryDirectory() as folder:
        for name, text in FILES.items():
            ours = pathlib.Path(folder, name)
            ours.write_text(text, encoding='utf-8')
            theirs = os.path.realpath(f'/etc/{name}')
            subprocess.run(['mount', '--bind', ours, theirs], check=True)
        subprocess.run(['ip', 'link', 'set', 'lo', 'up'], check=True)
        start_stub()
        result = subprocess.run(
            command, env={**os.environ, 'WATERSPOUT_STUB_DNS': '1'},
            timeout=TIME_LIMIT, check=False)
        for name in FILES:
            subprocess.run(['umount', os.path.realpath(f'/etc/{name}')],
                           check=False)
    return result.returncode


def main(arguments):
    if arguments and arguments[0] == '--inside':
        return run_inside(arguments[1:])
    if not arguments:
        print(__doc__, file=sys.stderr)
        return 2
    unshare = ['unshare', '-rnm']
    if subprocess.run(unshare + ['true'], check=False).returncode != 0:
        print('skipped: namespaces cannot be made here (unshare -rnm)')
        return SKIPPED
    os.execvp(unshare[0], unshare + [sys.executable, __file__, '--inside',
                                     *arguments])
    return 1


if __name__ == '__main__':
    sys.exit(main(sys.argv[1:]))
