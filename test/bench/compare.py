#!/usr/bin/python3
"""Compares our server with its peers, workload by workload.

Each server and hand-written epoll take turns, so that a busy moment of the
machine meets both.
test/bench/README.md explains the figures.
"""

import argparse
import json
import pathlib
import statistics
import subprocess
import sys
import tempfile

import benchmarks_page
import machine
import report
import workloads
from measure import (CALLS, CPU, IDLE, INSTRUCTIONS, PEAK, SHARE, Bench,
                     TO_LIMIT, MeasureError, make_certificate, one_processor)

# How often a figure is taken; the median counts. With --quick, and without.
COUNTS = {True: 1, False: 3}
TURNS = {True: 20, False: 80}
MICRO = 'micro'


def count(bench, server, workload, times):
    """The figures that do not depend on the clock."""
    entry = {}
    if CALLS in workload.figures:
        entry[CALLS] = statistics.median(
            bench.system_calls(server, workload) for _ in range(times))
    if INSTRUCTIONS in workload.figures and server.compiled:
        entry[INSTRUCTIONS] = bench.instructions(server, workload)
    if IDLE in workload.figures:
        entry[IDLE] = bench.figure(server, workload, IDLE)
    if SHARE in workload.figures:
        entry[SHARE] = min(bench.figure(server, workload, SHARE)
                           for _ in range(times))
    return entry


def time_beside(bench, server, limit, workload, times):
    """The figures of timed runs of a server, and of the limit beside it. Each
    pair of runs is a ratio; the limit has no other, and may be missing."""
    if limit in (None, server):
        [(ours, peak)] = bench.cpu([server], workload, times)
        return {CPU: ours, PEAK: peak}
    [(ours, peak), (least, _)] = bench.cpu([server, limit], workload, times)
    return {CPU: ours, PEAK: peak, TO_LIMIT: [
        one / other for one, other in zip(ours, least)]}


def compare(bench, workload, servers, quick):
    """The figures of every server; {'note': why} where there are none."""
    entries = {server.name: {} for server in servers}

    def attempt(server, step):
        entry = entries[server.name]
        if 'note' in entry:
            return
        try:
            step(entry)
        except (MeasureError, OSError, subprocess.SubprocessError) as error:
            entry['note'] = entry['failure'] = str(error)

    for server in servers:
        if server.exists:
            attempt(server, lambda entry: entry.update(
                count(bench, server, workload, COUNTS[quick])))
        else:
            entries[server.name]['note'] = 'not built'
    limit = next((server for server in servers if
                  server.name == workloads.LIMIT), None)
    for server in servers if CPU in workload.figures else []:
        attempt(server, lambda entry: entry.update(time_beside(
            bench, server, limit, workload, TURNS[quick])))
    return entries


def left_out(workload, servers):
    """Entries for servers that cannot do what is asked."""
    return {server.name: {'note': server.without[workload.name]}
            for server in servers if workload.name in server.without}


def compare_all(build, chosen, servers, quick):
    """Prints a table after each workload; gives the figures of all."""
    results = {}
    with one_processor(), tempfile.TemporaryDirectory() as folder:
        bench = Bench(build, *make_certificate(pathlib.Path(folder)))
        for workload in chosen:
            able = [server for server in servers if server.takes(workload)]
            results[workload.name] = compare(
                bench, workload, able, quick) | left_out(workload, servers)
            print(report.text_table(workload, results[workload.name]),
                  flush=True)
    return results


def run_micro_benchmarks(build):
    """What each of Meson's benchmarks prints, as {'output': text}; with a
    'failure', too, if it failed."""
    listed = subprocess.run(
        ['meson', 'introspect', '--benchmarks', build], check=True,
        stdout=subprocess.PIPE, text=True)
    outputs = {}
    for benchmark in json.loads(listed.stdout):
        entry = outputs[benchmark['name']] = {'output': ''}
        try:
            done = subprocess.run(benchmark['cmd'], check=True, text=True,
                                  stdout=subprocess.PIPE)
            entry['output'] = done.stdout
        except (OSError, subprocess.SubprocessError) as error:
            entry['failure'] = str(error)
        print(f"{benchmark['name']}\n\n{entry['output']}", flush=True)
    return outputs


def pick(kind, wanted, known):
    """The known ones that are wanted, in their order; all if none is."""
    for name in wanted:
        if name not in known:
            raise MeasureError(
                f'no such {kind}: {name}; there are: {", ".join(known)}')
    return [name for name in known if name in wanted or not wanted]


def parse(arguments):
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('build', help='the build directory')
    parser.add_argument('workloads', nargs='*', metavar='WORKLOAD',
                        help='only these; micro stands for what Meson runs')
    parser.add_argument('--servers', metavar='NAME,NAME', default='',
                        help='only these servers')
    parser.add_argument('--quick', action='store_true',
                        help='fewer repetitions')
    parser.add_argument('--json', metavar='FILE', type=pathlib.Path,
                        help='keep the figures there')
    parser.add_argument('--from', metavar='FILE', type=pathlib.Path,
                        dest='kept', help='measure nothing, take kept figures')
    parser.add_argument('--write-docs', action='store_true',
                        help='write docs/benchmarks.md and its chart anew')
    options = parser.parse_intermixed_args(arguments)
    if options.write_docs and (options.workloads or options.servers):
        parser.error('--write-docs is for everything, not for a part')
    return options


def measure(options):
    """Everything that goes to the page."""
    workload_of = {each.name: each for each in workloads.WORKLOADS}
    server_of = {each.name: each for each in workloads.servers(options.build)}
    names = pick('workload', options.workloads, [*workload_of, MICRO])
    servers = pick('server', list(filter(None, options.servers.split(','))),
                   list(server_of))
    kept = {
        'machine': machine.description(),
        'versions': machine.versions(options.build),
        'turns': TURNS[options.quick],
        'results': {},
        'micro': {},
    }
    if names != [MICRO]:
        kept['results'] = compare_all(
            options.build, [workload_of[name] for name in names if
                            name != MICRO],
            [server_of[name] for name in servers], options.quick)
    if MICRO in names:
        kept['micro'] = run_micro_benchmarks(options.build)
    return kept


def failures(kept):
    """A line for each run that failed."""
    groups = kept['results'] | {MICRO: kept['micro']}
    for group, entries in groups.items():
        for name, entry in entries.items():
            if 'failure' in entry:
                yield f"{group}: {name}: {entry['failure']}"


def main(arguments):
    options = parse(arguments)
    if options.kept:
        kept = json.loads(options.kept.read_text('utf-8'))
    else:
        kept = measure(options)
    if options.json:
        options.json.write_text(json.dumps(kept, indent=1) + '\n', 'utf-8')
    failed = list(failures(kept))
    if failed:
        raise MeasureError('\n'.join(['these runs failed:', *failed]))
    if options.write_docs:
        benchmarks_page.write(kept)


if __name__ == '__main__':
    try:
        main(sys.argv[1:])
    except (MeasureError, OSError, ValueError,
            subprocess.SubprocessError) as error:
        sys.exit(f'bench: {error}')
