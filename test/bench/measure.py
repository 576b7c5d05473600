"""Measures one server under one workload, from outside.

A server is a command that takes MODE and PORT and prints "listening on PORT";
the load comes from bench_load. Counts are the difference of two runs of unequal
length, so that what starting and ending costs drops out.
"""

import contextlib
import dataclasses
import os
import pathlib
import re
import resource
import signal
import subprocess
import tempfile


@dataclasses.dataclass(frozen=True)
class Workload:
    """What is asked of a server, and for how long."""

    name: str
    mode: str  # the server's
    load: str  # bench_load's
    connections: int = 1
    in_flight: int = 1
    size: int = 64
    count: int = 3000  # operations between the two lengths of a counted run
    timed: int = 100000  # operations of a timed run
    tls: bool = False
    unit: str = 'operation'

    def options(self, operations, warm_up):
        """What bench_load is given."""
        return [
            '--connections', str(self.connections),
            '--in-flight', str(self.in_flight), '--size', str(self.size),
            '--operations', str(operations), '--warm-up', str(warm_up),
            '--tls', str(int(self.tls))]

    @property
    def round(self):
        """Operations that are under way at once."""
        return self.connections * self.in_flight


def allow_many_descriptors():
    """Ten thousand connections need more than a shell allows at first."""
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def traced_child(pid):
    """The child of `pid`, if it has one: strace keeps signals to itself."""
    children = pathlib.Path(f'/proc/{pid}/task/{pid}/children')
    return int(next(iter(children.read_text().split()), 0))


class Bench:
    """The programs and where they are."""

    def __init__(self, build, certificate=None, key=None):
        self.load = pathlib.Path(build) / 'test/bench/bench_load'
        self.tls = ['--tls', str(certificate), str(key)]
        allow_many_descriptors()

    @contextlib.contextmanager
    def running(self, server, workload, prefix=()):
        """Runs `server` for the workload, behind the words of `prefix`; gives
        the process and its port."""
        command = [*prefix, *server, workload.mode, '0',
                   *(self.tls if workload.tls else [])]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        try:
            line = process.stdout.readline()
            match = re.fullmatch(r'listening on (\d+)\n', line)
            if not match:
                raise RuntimeError(f'{command}: does not listen: {line!r}')
            yield process, match[1]
        finally:
            os.kill(traced_child(process.pid) or process.pid, signal.SIGTERM)
            process.wait(timeout=60)
            process.stdout.close()

    def put_load(self, workload, port, operations, warm_up, pid=None):
        """The figures of one run of bench_load."""
        command = [str(self.load), workload.load, port,
                   *workload.options(operations, warm_up)]
        if pid is not None:
            command += ['--pid', str(pid)]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True,
                              check=True, timeout=400)
        figures = (line.split() for line in done.stdout.splitlines())
        return {name: float(value) for name, value in figures}

    def cpu(self, server, workload):
        """Nanoseconds of the server's processor time for an operation."""
        with self.running(server, workload) as (process, port):
            got = self.put_load(workload, port, workload.timed,
                                max(workload.timed // 10, workload.round),
                                process.pid)
            return got['cpu_ns'] / got['operations']

    def figure(self, server, workload, name):
        """A figure that bench_load tells of the server."""
        with self.running(server, workload) as (process, port):
            return self.put_load(workload, port, workload.timed, 0,
                                 process.pid)[name]

    def _slope(self, total, workload):
        few = -(-workload.count // 2 // workload.round) * workload.round
        more = max(-(-workload.count // workload.round), 1) * workload.round
        return (total(few + more) - total(few)) / more

    def instructions(self, server, workload):
        """User-space instructions for an operation, by callgrind. It does not
        count the kernel's."""
        def total(operations):
            with tempfile.NamedTemporaryFile() as log:
                prefix = ['valgrind', '--tool=callgrind',
                          '--callgrind-out-file=/dev/null',
                          f'--log-file={log.name}']
                with self.running(server, workload, prefix) as (_, port):
                    self.put_load(workload, port, operations, 0)
                text = pathlib.Path(log.name).read_text(encoding='utf-8')
                return int(re.search(r'Collected : (\d+)', text)[1])
        return self._slope(total, workload)

    def system_calls(self, server, workload):
        """System calls for an operation, and of which kinds, by strace."""
        def totals(operations):
            with tempfile.NamedTemporaryFile() as log:
                prefix = ['strace', '-f', '-c', '-U', 'calls,name', '-o',
                          log.name]
                with self.running(server, workload, prefix) as (_, port):
                    self.put_load(workload, port, operations, 0)
                text = pathlib.Path(log.name).read_text(encoding='utf-8')
                rows = re.findall(r'^ *(\d+) (\w+)$', text, re.MULTILINE)
                return {name: int(count) for count, name in rows}
        seen = []

        def total(operations):
            seen.append(totals(operations))
            return seen[-1]['total']

        calls = self._slope(total, workload)
        return calls, seen
