#!/usr/bin/env python3
"""Fails on an include that goes up a floor, sideways or through a wall.

check_layers.py ROOT         checks include/, lib/, samples/ and test/ of a tree
check_layers.py --self-test  breaks every rule once, in a temporary tree
"""
import pathlib
import re
import sys
import tempfile

FLOOR = {'base': 0, 'context': 1, 'tls': 1, 'loop': 2, 'net': 3, 'stream': 4,
         'service': 5}
PUBLIC = {
    'export.h': 'base', 'error.h': 'base', 'log.h': 'base',
    'address.h': 'base', 'origin.h': 'base',
    'callback.h': 'context', 'stack_context.h': 'context',
    'ssl.h': 'tls',
    'ioloop.h': 'loop',
    'netutil.h': 'net', 'resolver.h': 'net',
    'iostream.h': 'stream', 'ssl_iostream.h': 'stream',
    'pipe_iostream.h': 'stream',
    'tcpserver.h': 'service', 'tcpclient.h': 'service', 'process.h': 'service',
    'subprocess.h': 'service',
    'daemon.h': 'service', 'pipe.h': 'service',
    'testing.h': 'service',
}
# Third-party headers, and the one room of lib/ that may see each family.
LIBEVENT = re.compile(r'event2/|event\.h$|ev(buffer|dns|http|rpc|util)\.h$')
WALLS = [(LIBEVENT, 'loop'), (re.compile(r'openssl/'), 'tls'),
         (re.compile(r'pcre2(posix)?\.h$'), 'stream'),
         (re.compile(r'ares(_\w+)?\.h$'), 'net')]
OPENSSL = WALLS[1][0]
# Only libevent's event core is ours to call, but where connections change hands.
HANDOVER = ('lib/loop/handover.cc',)
BANNED = re.compile(r'\b((?:evbuffer_|bufferevent_|evdns_|evhttp_|evtag_|'
                    r'evutil_parse|evutil_getaddrinfo)\w*)')
INCLUDE = re.compile(r'\s*#\s*include\s*(["<])([^">]+)[">]')
STANDARD = re.compile(r'[a-z_0-9]+$')
# Parts of test/ that are about the inside.
INSIDERS = ('internal', 'bench', 'fuzz')


class Source:
    """One file, named by its path below the root."""

    def __init__(self, root, path):
        self.root = root
        self.name = path.relative_to(root).as_posix()
        self.parts = self.name.split('/')
        self.lines = path.read_text(encoding='utf-8').splitlines()

    @property
    def room(self):
        if self.parts[0] == 'include':
            return PUBLIC.get(self.parts[-1])
        if self.parts[0] == 'lib' and len(self.parts) > 2:
            return self.parts[1] if self.parts[1] in FLOOR else None
        return None

    def includes(self):
        """Yields (line number, is quoted, name)."""
        for number, line in enumerate(self.lines, 1):
            match = INCLUDE.match(line)
            if match:
                yield number, match[1] == '"', match[2]

    def included_room(self, quoted, name):
        """The room that an include names, or None for any other include.

        <net/if.h> is the system's: in angle brackets only what exists is ours.
        """
        head, _, rest = name.partition('/')
        if head == 'waterspout':
            return PUBLIC.get(rest)
        ours = quoted or (self.root / 'lib' / name).is_file()
        return head if ours and head in FLOOR else None


def sources(root):
    for top in ('include', 'lib', 'samples', 'test'):
        for path in sorted((root / top).rglob('*')):
            if path.suffix in ('.h', '.cc') and path.is_file():
                yield Source(root, path)


def check_floors(source):
    """For include/ and lib/: which room includes which."""
    here = source.room
    if here is None:
        yield 1, 'belongs to no room: add it to the table of check_layers.py'
        return
    for number, quoted, name in source.includes():
        there = source.included_room(quoted, name)
        if there is None:
            if quoted or name.startswith('waterspout/'):
                yield number, f'"{name}" names no room: write room/file.h'
        elif not quoted:
            yield number, f'<{name}> is ours: write it in quotes'
        elif there != here and FLOOR[there] >= FLOOR[here]:
            way = 'up' if FLOOR[there] > FLOOR[here] else 'sideways'
            yield number, f'{here} may not include {there}: it goes {way}'


def check_public(source):
    for number, quoted, name in source.includes():
        if quoted and not name.startswith('waterspout/'):
            yield number, f'a public header may not include private "{name}"'
        elif not quoted and not STANDARD.match(name):
            yield number, (f'a public header may not include <{name}>, only '
                           'the C++ library')


def walls_open_to(source):
    """Patterns of third-party headers that this file may include."""
    if source.parts[0] == 'lib':
        return [wall for wall, room in WALLS if room == source.room]
    if source.parts[0] == 'test':
        # Tests lend a base, and look at it afterwards; they make certificates,
        # and peers that speak TLS.
        return [LIBEVENT, OPENSSL]
    if source.parts[0] == 'samples' and 'embed_libevent' in source.name:
        return [LIBEVENT]
    return []


def check_walls(source):
    allowed = walls_open_to(source)
    for number, _, name in source.includes():
        for wall, room in WALLS:
            if wall.match(name) and wall not in allowed:
                yield number, f'<{name}> is for lib/{room} only'


def check_symbols(source):
    if source.name in HANDOVER:
        return
    for number, line in enumerate(source.lines, 1):
        code = line.split('//', 1)[0]
        for match in BANNED.finditer(code):
            yield number, f'{match[1]} is not of libevent\'s event core'


def check_outsider(source):
    """For samples/ and most of test/: nothing private."""
    for number, quoted, name in source.includes():
        private = (source.included_room(quoted, name)
                   and not name.startswith('waterspout/'))
        if private or '../' in name or name.startswith('lib/'):
            yield number, f'"{name}" is not public'
        elif not quoted and name.startswith('waterspout/'):
            yield number, f'<{name}> is ours: write it in quotes'


def checks_for(source):
    top = source.parts[0]
    if top == 'include':
        return [check_floors, check_public, check_walls, check_symbols]
    if top == 'lib':
        return [check_floors, check_walls, check_symbols]
    if top == 'test' and source.parts[1] in INSIDERS:
        return [check_walls]
    return [check_outsider, check_walls]


def find_cycles(tree):
    """Yields each include cycle once, as the names along it."""
    graph = {}
    for source in tree:
        folder = source.name.rpartition('/')[0]
        places = ('include/', 'lib/', folder + '/')
        graph[source.name] = [place + name
                              for _, quoted, name in source.includes() if quoted
                              for place in places]
    done, seen = set(), set()

    def walk(name, trail):
        if name in trail:
            cycle = trail[trail.index(name):]
            if frozenset(cycle) not in seen:
                seen.add(frozenset(cycle))
                yield cycle + [name]
        elif name in graph and name not in done:
            for target in graph[name]:
                yield from walk(target, trail + [name])
            done.add(name)

    for name in graph:
        yield from walk(name, [])


def complaints(root):
    tree = list(sources(root))
    for source in tree:
        for check in checks_for(source):
            for number, text in check(source):
                yield f'{source.name}:{number}: {text}'
    for cycle in find_cycles(tree):
        yield f'{cycle[0]}:1: includes itself: ' + ' -> '.join(cycle)


# Each case: files of a tree, and a piece of every complaint it must get.
SELF_TEST = {
    'a good tree': ({
        'include/waterspout/error.h': '#include <string>\n',
        'include/waterspout/ioloop.h':
            '#include <memory>\n#include "waterspout/error.h"\n',
        'lib/loop/event.h': '#include <event2/event.h>\n',
        'lib/loop/event.cc':
            '#include "loop/event.h"\n#include "base/fd.h"\n'
            '#include <unistd.h>\n// Not evbuffer_add: see the page.\n',
        'lib/base/address.cc': '#include <net/if.h>\n',
        'test/address_test.cc': '#include <net/if.h>\n',
        'lib/base/fd.h': '#include "waterspout/error.h"\n',
        'lib/stream/regex.cc': '#include <pcre2.h>\n',
        'samples/embed_libevent.cc':
            '#include <event2/http.h>\n#include "waterspout/ioloop.h"\n',
        'test/ioloop_test.cc':
            '#include "support/fixture.h"\n#include <event2/event.h>\n',
        'test/internal/event_test.cc': '#include "loop/event.h"\n',
    }, []),
    'up': ({'lib/base/a.cc': '#include "loop/event.h"\n'},
           ['lib/base/a.cc:1: base may not include loop: it goes up']),
    'up, by a public header': (
        {'lib/loop/a.cc': '#include <map>\n#include "waterspout/iostream.h"\n'},
        ['lib/loop/a.cc:2: loop may not include stream: it goes up']),
    'sideways': ({'lib/tls/a.cc': '#include "waterspout/callback.h"\n'},
                 ['tls may not include context: it goes sideways']),
    'a disguised path': ({'lib/base/a.cc': '#include "../loop/event.h"\n'},
                         ['"../loop/event.h" names no room']),
    'an unknown public header': (
        {'include/waterspout/surprise.h': '\n',
         'lib/base/a.cc': '#include "waterspout/surprise.h"\n'},
        ['surprise.h:1: belongs to no room', 'names no room']),
    'an unknown room': ({'lib/attic/a.cc': '\n'},
                        ['lib/attic/a.cc:1: belongs to no room']),
    'ours in angle brackets': (
        {'lib/loop/a.cc': '#include <waterspout/error.h>\n',
         'lib/loop/event.h': '\n',
         'lib/loop/event.cc': '#include <loop/event.h>\n',
         'samples/a.cc': '#include <waterspout/error.h>\n'},
        ['lib/loop/a.cc:1: <waterspout/error.h> is ours',
         'lib/loop/event.cc:1: <loop/event.h> is ours',
         'samples/a.cc:1: <waterspout/error.h> is ours']),
    'libevent outside its door': (
        {'lib/stream/a.cc': '#include <event2/event.h>\n',
         'lib/base/a.cc': '  #  include <evhttp.h>\n',
         'samples/http_fetch.cc': '#include <event2/event.h>\n'},
        ['lib/stream/a.cc:1: <event2/event.h> is for lib/loop only',
         'lib/base/a.cc:1: <evhttp.h> is for lib/loop only',
         'samples/http_fetch.cc:1: <event2/event.h> is for lib/loop only']),
    'OpenSSL outside its door': (
        {'lib/stream/a.cc': '#include <openssl/ssl.h>\n'},
        ['<openssl/ssl.h> is for lib/tls only']),
    'PCRE2 outside its door': (
        {'lib/loop/a.cc': '#include <pcre2.h>\n',
         'test/a_test.cc': '#include <pcre2.h>\n'},
        ['lib/loop/a.cc:1: <pcre2.h> is for lib/stream only',
         'test/a_test.cc:1: <pcre2.h> is for lib/stream only']),
    'c-ares outside its door': (
        {'lib/service/a.cc': '#include <ares.h>\n'},
        ['<ares.h> is for lib/net only']),
    'a public header that shows the inside': (
        {'include/waterspout/ioloop.h': '#include "loop/event.h"\n'},
        ['a public header may not include private "loop/event.h"']),
    'a public header that needs the system': (
        {'include/waterspout/address.h': '#include <sys/socket.h>\n'},
        ['a public header may not include <sys/socket.h>']),
    'a public header that shows libevent': (
        {'include/waterspout/ioloop.h': '#include <event2/event.h>\n'},
        ['<event2/event.h> is for lib/loop only']),
    'a sample that looks inside': (
        {'samples/http_fetch.cc': '#include "stream/read_request.h"\n'},
        ['samples/http_fetch.cc:1: "stream/read_request.h" is not public']),
    'a test that looks inside': (
        {'test/iostream_test.cc': '#include "../lib/stream/read_request.h"\n',
         'test/support/fixture.h': '#include "loop/event.h"\n'},
        ['test/iostream_test.cc:1:', 'test/support/fixture.h:1:']),
    'a cycle inside a room': (
        {'lib/base/a.h': '#include "base/b.h"\n',
         'lib/base/b.h': '#include "base/c.h"\n',
         'lib/base/c.h': '#include "base/a.h"\n'},
        ['lib/base/a.h:1: includes itself: lib/base/a.h -> lib/base/b.h -> '
         'lib/base/c.h -> lib/base/a.h']),
    'a cycle by way of a public header': (
        {'include/waterspout/log.h': '#include "waterspout/error.h"\n',
         'include/waterspout/error.h': '#include "waterspout/log.h"\n'},
        ['includes itself']),
    'libevent beyond the event core': (
        {f'lib/loop/{number}.cc': f'  x = {symbol}(y);  // why\n'
         for number, symbol in enumerate((
             'evbuffer_add', 'bufferevent_free', 'evdns_base_new',
             'evhttp_new', 'evtag_init', 'evutil_parse_sockaddr_port',
             'evutil_getaddrinfo'))},
        ['evbuffer_add', 'bufferevent_free', 'evdns_base_new', 'evhttp_new',
         'evtag_init', 'evutil_parse_sockaddr_port', 'evutil_getaddrinfo']),
}


def failures_of(case, files, expected):
    with tempfile.TemporaryDirectory() as folder:
        root = pathlib.Path(folder)
        for name, text in files.items():
            path = root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding='utf-8')
        found = list(complaints(root))
    for piece in expected:
        if not any(piece in complaint for complaint in found):
            yield f'{case}: nothing says "{piece}", only {found}'
    if not expected and found:
        yield f'{case}: {found}'


def self_test():
    failures = [failure for case, (files, expected) in SELF_TEST.items()
                for failure in failures_of(case, files, expected)]
    print('\n'.join(failures) or f'{len(SELF_TEST)} cases, all as they should')
    return 1 if failures else 0


def main(arguments):
    if arguments == ['--self-test']:
        return self_test()
    if len(arguments) != 1:
        print(__doc__, file=sys.stderr)
        return 2
    found = list(complaints(pathlib.Path(arguments[0])))
    print('\n'.join(found) or 'every include goes down the stairs')
    return 1 if found else 0


if __name__ == '__main__':
    sys.exit(main(sys.argv[1:]))
