"""The servers that ./dev bench compares, and what it asks of them."""

import pathlib

from measure import CALLS, CPU, IDLE, INSTRUCTIONS, SHARE, Server, Workload

OURS = 'waterspout'
OURS_AT_ONCE = 'waterspout-line2'
LIMIT = 'epoll'  # what every ratio is to

_PEERS = pathlib.Path(__file__).parent / 'peers'
_MEGABYTE = dict(unit='MB', count=600, timed=75)

WORKLOADS = [
    Workload('line1', 'line echo, 1 connection', 'line', 'echo',
             timed=2000),
    Workload('line50', 'line echo, 50 connections', 'line', 'echo',
             connections=50, count=5000, timed=3000),
    Workload('line100', 'line echo, 100 connections', 'line', 'echo',
             connections=100, count=5000, timed=3000, figures=(CALLS, CPU)),
    Workload('flight50', '50 connections, 16 lines in flight each',
             'line', 'echo', connections=50, in_flight=16, count=40000,
             timed=20000),
    Workload('flight100', '100 connections, 16 lines in flight each',
             'line', 'echo', connections=100, in_flight=16, timed=20000,
             figures=(CPU,)),
    Workload('line4k', '4 KiB lines, 1 connection', 'line', 'echo',
             size=4096, timed=2000),
    Workload('line4k20', '4 KiB lines, 20 connections', 'line', 'echo',
             connections=20, size=4096, timed=3000, figures=(CPU,)),
    Workload('bytes64k', '64 KiB messages, 10 connections', 'bytes64k', 'echo',
             connections=10, size=65536, count=2000, timed=750),
    Workload('http50', 'http keep-alive, 50 connections', 'http', 'http',
             connections=50, count=5000, timed=3000),
    Workload('http100', 'http keep-alive, 100 connections', 'http', 'http',
             connections=100, timed=3000, figures=(CPU,)),
    Workload('churn', 'connect + one line + close, 20 at a time', 'churn',
             'churn', connections=20, count=2000, timed=800),
    Workload('receiving', 'receiving, per MB', 'sink', 'send', **_MEGABYTE),
    Workload('sending', 'sending, per MB', 'source', 'receive', **_MEGABYTE),
    Workload('idle', '10,000 idle connections, one line echoed on each',
             'line', 'idle', connections=10000, figures=(IDLE,)),
    Workload('fair', '100 busy connections, 16 lines in flight each', 'line',
             'fair', connections=100, in_flight=16, timed=400000,
             figures=(SHARE,)),
    Workload('flood', 'the same beside one that sends without pause', 'line',
             'fair-beside-flood', connections=100, in_flight=16, timed=400000,
             figures=(SHARE,)),
    Workload('tls-line', 'line echo over TLS, 1 connection', 'line', 'echo',
             timed=1500, tls=True),
    Workload('tls-receiving', 'receiving over TLS, per MB', 'sink', 'send',
             tls=True, unit='MB', count=40, timed=100),
    Workload('tls-sending', 'sending over TLS, per MB', 'source', 'receive',
             tls=True, unit='MB', count=40, timed=100),
]


def servers(build):
    """All of them, whether they were built or not; ours first."""
    folder = pathlib.Path(build) / 'test/bench'
    ours = (folder / 'bench_server',)

    def peer(name, **keywords):
        return Server(name, (folder / 'peers' / f'{name}_server',), **keywords)

    return [
        Server(OURS, ours),
        Server(OURS_AT_ONCE, ours, modes={'line': 'line2'},
               only=('flight50', 'flight100')),
        peer(LIMIT),
        peer('libevent', tls=False),
        peer('bufferevent'),
        peer('libuv', tls=False),
        peer('asio'),
        Server('tornado', ('/usr/bin/python3', _PEERS / 'tornado_server.py'),
               compiled=False, pace=0.2, without={
                   'tls-receiving': 'ends TLS without a close_notify, '
                                    'which bench_load takes for an error',
                   'flood': 'serves nobody but the one that floods, and '
                            'takes 2 GB in the first minute'}),
    ]
