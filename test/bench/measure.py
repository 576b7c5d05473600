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

CALLS = 'system_calls'
INSTRUCTIONS = 'instructions'
CPU = 'cpu_ns'
TO_LIMIT = 'cpu_to_limit'
PEAK = 'peak_kib'
IDLE = 'bytes_per_connection'
SHARE = 'least_share'


class MeasureError(Exception):
    """A server or a tool did not do what was to be measured."""


@dataclasses.dataclass(frozen=True)
class Workload:
    """What is asked of a server, and for how long."""

    name: str
    title: str
    mode: str  # the server's
    load: str  # bench_load's
    connections: int = 1
    in_flight: int = 1
    size: int = 64
    count: int = 3000  # operations between the two lengths of a counted run
    timed: int = 0  # operations of a timed run
    tls: bool = False
    unit: str = 'operation'
    figures: tuple = (CALLS, INSTRUCTIONS, CPU)

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


@dataclasses.dataclass(frozen=True)
class Server:
    """A program that serves the modes of bench_server."""

    name: str
    command: tuple
    tls: bool = True
    compiled: bool = True  # callgrind counts what an interpreter does, too
    pace: float = 1  # the part of a timed run that it is given
    modes: dict = dataclasses.field(default_factory=dict)  # another for one
    only: tuple = ()  # workloads; all if empty
    without: dict = dataclasses.field(default_factory=dict)  # and why

    def takes(self, workload):
        """Whether it is made for the workload."""
        return ((self.tls or not workload.tls) and
                (not self.only or workload.name in self.only) and
                workload.name not in self.without)

    @property
    def exists(self):
        """Whether its program was built."""
        return all(pathlib.Path(word).exists() for word in self.command)


@contextlib.contextmanager
def one_processor():
    """Binds this process, and so what it starts, to one processor. Waking
    another one can cost more than all the work, and whether the kernel does so
    differs from run to run."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {max(before)})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


@contextlib.contextmanager
def in_batches():
    """Keeps what is started from interrupting each other when it wakes: a
    client has sent all before the server sees it, so that counts repeat."""
    before = os.sched_getscheduler(0)
    os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))
    try:
        yield
    finally:
        os.sched_setscheduler(0, before, os.sched_param(0))


def allow_many_descriptors():
    """Ten thousand connections need more than a shell allows at first."""
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def make_certificate(folder):
    """A certificate and its key, of the kind whose handshake is cheapest."""
    certificate, key = folder / 'certificate.pem', folder / 'key.pem'
    subprocess.run(
        ['openssl', 'req', '-x509', '-newkey', 'ec', '-pkeyopt',
         'ec_paramgen_curve:prime256v1', '-nodes', '-keyout', key, '-out',
         certificate, '-days', '2', '-subj', '/CN=localhost'],
        check=True, stderr=subprocess.DEVNULL)
    return certificate, key


def traced_child(pid):
    """The child of `pid`, if it has one: strace keeps signals to itself."""
    children = pathlib.Path(f'/proc/{pid}/task/{pid}/children')
    return int(next(iter(children.read_text().split()), 0))


def peak_memory(pid):
    """The most that the process had in memory so far, in KiB."""
    status = pathlib.Path(f'/proc/{pid}/status').read_text()
    return int(re.search(r'^VmHWM:\s*(\d+) kB$', status, re.MULTILINE)[1])


def counting(log):
    """The words before a command whose instructions callgrind is to count."""
    return ['valgrind', '--tool=callgrind', '--callgrind-out-file=/dev/null',
            f'--log-file={log}']


def counted_instructions(log):
    """What callgrind told in its log."""
    return int(re.search(r'Collected : (\d+)', log)[1])


def in_rounds(workload, operations):
    """At least one round, and none that is not full."""
    return max(round(operations / workload.round), 1) * workload.round


class Bench:
    """The programs and where they are."""

    def __init__(self, build, certificate, key):
        self.load = pathlib.Path(build) / 'test/bench/bench_load'
        self.tls = ['--tls', str(certificate), str(key)]
        if not self.load.exists():
            raise MeasureError(f'{self.load} is not built')
        allow_many_descriptors()

    @contextlib.contextmanager
    def running(self, server, workload, prefix=()):
        """Runs `server` for the workload, behind the words of `prefix`; gives
        the process and its port."""
        mode = server.modes.get(workload.mode, workload.mode)
        command = [*prefix, *map(str, server.command), mode, '0',
                   *(self.tls if workload.tls else [])]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        try:
            line = process.stdout.readline()
            match = re.fullmatch(r'listening on (\d+)\n', line)
            if not match:
                raise MeasureError(
                    f'{server.name} does not listen for {workload.name}')
            yield process, match[1]
        finally:
            os.kill(traced_child(process.pid) or process.pid, signal.SIGTERM)
            process.wait(timeout=60)
            process.stdout.close()

    def put_load(self, workload, port, operations, warm_up=0, pid=None):
        """The figures of one run of bench_load."""
        command = [str(self.load), workload.load, port,
                   *workload.options(operations, warm_up)]
        if pid is not None:
            command += ['--pid', str(pid)]
        done = subprocess.run(command, stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, text=True, check=False)
        if done.returncode != 0:
            raise MeasureError(done.stderr.strip() or
                               f'bench_load ended with {done.returncode}')
        figures = (line.split() for line in done.stdout.splitlines())
        return {name: float(value) for name, value in figures}

    def cpu(self, servers, workload, times):
        """Short runs of the servers, one right after the other, so often: the
        machine's pace changes several times a second. Gives for each server
        nanoseconds of its processor time for an operation, a list, and the most
        memory that it had, in KiB."""
        with contextlib.ExitStack() as stack:
            running = [(server, [], *stack.enter_context(
                self.running(server, workload))) for server in servers]
            for turn in range(times):
                for server, found, process, port in (
                        reversed(running) if turn % 2 else running):
                    found.append(self._timed(server, workload, process, port))
            return [(found, peak_memory(process.pid))
                    for _, found, process, _ in running]

    def _timed(self, server, workload, process, port):
        operations = in_rounds(workload, workload.timed * server.pace)
        got = self.put_load(workload, port, operations,
                            in_rounds(workload, operations / 10), process.pid)
        return got[CPU] / got['operations']

    def figure(self, server, workload, name):
        """A figure that bench_load tells of the server."""
        operations = in_rounds(workload, workload.timed * server.pace)
        with self.running(server, workload) as (process, port):
            return self.put_load(workload, port, operations, 0,
                                 process.pid)[name]

    def instructions(self, server, workload):
        """User-space instructions for an operation, by callgrind. It does not
        count the kernel's."""
        def total(operations):
            return counted_instructions(
                self._logged(server, workload, operations, counting))
        return self._slope(total, workload)

    def system_calls(self, server, workload):
        """System calls for an operation, by strace."""
        def total(operations):
            log = self._logged(server, workload, operations, lambda name: [
                'strace', '-f', '-c', '-U', 'calls,name', '-o', name])
            return int(re.search(r'^ *(\d+) total$', log, re.MULTILINE)[1])
        return self._slope(total, workload)

    def _logged(self, server, workload, operations, prefix):
        """What a tool, which is told the name of its log, writes of a run."""
        with tempfile.NamedTemporaryFile(mode='r', encoding='utf-8') as log:
            with self.running(server, workload, prefix(log.name)) as (_, port):
                self.put_load(workload, port, operations)
            return log.read()

    def _slope(self, total, workload):
        few = in_rounds(workload, workload.count / 2)
        more = in_rounds(workload, workload.count)
        with in_batches():
            return (total(few + more) - total(few)) / more
