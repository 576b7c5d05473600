#!/usr/bin/env python3
"""Serves what http_fetch's tests fetch from python3's http.server under TLS.

https_server.py CERTIFICATE KEY [--address A] [--client-ca FILE]
                [--version 1.2|1.3]

Prints "serving (https://127.0.0.1:PORT/)" when it listens. python3 ends a
connection without close_notify unless it is told to.
"""
import argparse
import http.server
import socket
import ssl

VERSIONS = {'1.2': ssl.TLSVersion.TLSv1_2, '1.3': ssl.TLSVersion.TLSv1_3}
BODY = b'hello\n'


class Handler(http.server.BaseHTTPRequestHandler):
    timeout = 5

    def do_GET(self):
        path, _, query = self.path.partition('?')
        getattr(self, 'get_' + path.strip('/'))(query)

    def answer(self, body, length):
        self.send_response(200)
        if length is not None:
            self.send_header('Content-Length', str(length))
        self.end_headers()
        self.wfile.write(body)

    def get_about(self, _):
        """Tells the client what was seen of it."""
        tls = self.connection
        subject = dict(field for rdn in (tls.getpeercert() or {}).get(
            'subject', ()) for field in rdn)
        lines = [tls.version(), f'name {tls.context.asked_for}',
                 f'client {subject.get("commonName", "unknown")}',
                 *map(str, self.headers.values())]
        body = '\n'.join(lines).encode() + b'\n'
        self.answer(body, len(body))

    def get_to(self, query):
        self.send_response(302)
        self.send_header('Location', query)
        self.send_header('Content-Length', '0')
        self.end_headers()

    def get_whole(self, _):
        self.answer(BODY, len(BODY))

    def get_part(self, _):
        self.answer(BODY, len(BODY) + 1)

    def get_ended(self, _):
        self.answer(BODY, None)
        self.connection.unwrap()  # close_notify

    def get_cut(self, _):
        self.answer(BODY, None)

    def get_cut_head(self, _):
        self.wfile.write(b'HTTP/1.0 200 OK\r\nContent-')

    def log_message(self, *_):
        pass


class Server(http.server.ThreadingHTTPServer):
    def handle_error(self, *_):
        """Clients go as they like."""


def make_context(options):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(options.certificate, options.key)
    if options.version:
        context.minimum_version = VERSIONS[options.version]
        context.maximum_version = VERSIONS[options.version]
    if options.client_ca:
        context.load_verify_locations(options.client_ca)
        context.verify_mode = ssl.CERT_REQUIRED
    context.asked_for = None

    def keep_name(_, name, context):
        context.asked_for = name

    context.sni_callback = keep_name
    return context


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument('certificate')
    parser.add_argument('key')
    parser.add_argument('--address', default='127.0.0.1')
    parser.add_argument('--client-ca')
    parser.add_argument('--version', choices=VERSIONS)
    options = parser.parse_args()
    if ':' in options.address:
        Server.address_family = socket.AF_INET6
    server = Server((options.address, 0), Handler)
    server.socket = make_context(options).wrap_socket(server.socket,
                                                      server_side=True)
    host, port = server.server_address[:2]
    host = f'[{host}]' if ':' in host else host
    print(f'serving (https://{host}:{port}/)', flush=True)
    server.serve_forever()


main()
