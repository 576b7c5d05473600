#!/usr/bin/python3
"""Checks that our server and its peers do the work that is measured.

bench_load compares every byte; each server gets a short run of each mode. Ours
must also serve busy clients evenly.
"""

import argparse
import dataclasses
import pathlib
import subprocess
import sys
import tempfile

import workloads
from measure import (SHARE, Bench, MeasureError, make_certificate,
                     one_processor)

LEAST_SHARE = 0.7
ROUNDS = 5  # of what a workload has under way at once
EVENNESS = ('fair', 'flood')


def check_answers(bench, server, workload):
    short = dataclasses.replace(workload, timed=ROUNDS * workload.round)
    with bench.running(server, short) as (_, port):
        bench.put_load(short, port, short.timed)


def check_evenness(bench, server, workload):
    share = bench.figure(server, workload, SHARE)
    print(f'{server.name}: {workload.name}: the least share is {share:.2f}')
    if share < LEAST_SHARE:
        raise MeasureError(f'the least share is {share:.2f}, '
                           f'which is less than {LEAST_SHARE}')


def steps(server):
    """What to check of a server: functions with their workloads."""
    for workload in workloads.WORKLOADS:
        if not server.takes(workload) or workload.name == 'idle':
            continue
        if workload.name not in EVENNESS:
            yield check_answers, workload
        elif server.name == workloads.OURS:
            yield check_evenness, workload


def check(bench, server):
    """Complaints about one server."""
    complaints = []
    for step, workload in steps(server):
        try:
            step(bench, server, workload)
        except (MeasureError, OSError, subprocess.SubprocessError) as error:
            complaints.append(f'{server.name}: {workload.name}: {error}')
    print(f'{server.name}: {"fails" if complaints else "is right"}', flush=True)
    return complaints


def check_all(build):
    complaints = []
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(build, *make_certificate(pathlib.Path(folder)))
        for server in workloads.servers(build):
            complaints += (check(bench, server) if server.exists
                           else [f'{server.name}: is not built'])
    if complaints:
        raise MeasureError('\n'.join(complaints))


def main(arguments):
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('build', help='the build directory')
    options = parser.parse_args(arguments)
    with one_processor():
        check_all(options.build)


if __name__ == '__main__':
    try:
        main(sys.argv[1:])
    except (MeasureError, OSError, subprocess.SubprocessError) as error:
        sys.exit(f'check_servers: {error}')
