#!/usr/bin/python3
"""Checks that our server costs what figures.json says, within a few percent.

It is measured in what repeats: system calls and user instructions for an
operation, and bytes for an idle connection. What became worse is to be mended;
what became better, and what is worse for a good reason, is to be written down
with --update.
"""

import argparse
import json
import pathlib
import statistics
import subprocess
import sys
import tempfile

import machine
import workloads
from measure import (CALLS, IDLE, INSTRUCTIONS, Bench, MeasureError,
                     make_certificate, one_processor)

FIGURES = pathlib.Path(__file__).with_name('figures.json')
TOLERANCE = {CALLS: 0.05, INSTRUCTIONS: 0.05, IDLE: 0.01}
TRIES = 9  # at most, for a figure that is not as expected; the median counts
WORKLOADS = ('line1', 'line50', 'flight50', 'line4k', 'bytes64k', 'http50',
             'churn', 'receiving', 'sending', 'tls-line', 'idle')


def differs(figure, found, expected):
    """By more than what is tolerated, in either direction."""
    return not (abs(found - expected) <= TOLERANCE[figure] * expected)


def settled(figure, measure, expected):
    """What was measured, of several tries if the first is a surprise: how much
    comes in one receive is the kernel's business too."""
    found = [measure()]
    while len(found) < TRIES and (
            expected is None or
            differs(figure, statistics.median(found), expected)):
        found += [measure(), measure()]
    return statistics.median(found)


def measured(bench, server, workload, kept, figures):
    """The figures of one workload; kept are those to expect."""
    def memory(server, workload):
        return bench.figure(server, workload, IDLE)
    measures = {CALLS: (bench.system_calls, 3),
                INSTRUCTIONS: (bench.instructions, None),
                IDLE: (memory, None)}
    return {figure: round(settled(
        figure, lambda measure=measures[figure][0]: measure(server, workload),
        kept.get(figure)), measures[figure][1])
        for figure in figures if figure in workload.figures}


def measure_all(build, kept, figures):
    """The figures of all workloads, as figures.json keeps them."""
    workload_of = {each.name: each for each in workloads.WORKLOADS}
    ours = [server for server in workloads.servers(build) if
            server.name in (workloads.OURS, workloads.OURS_AT_ONCE)]
    found = {}
    with one_processor(), tempfile.TemporaryDirectory() as folder:
        bench = Bench(build, *make_certificate(pathlib.Path(folder)))
        for workload in map(workload_of.get, WORKLOADS):
            for server in ours:
                if server.takes(workload):
                    name = f'{server.name} {workload.name}'
                    found[name] = measured(bench, server, workload,
                                           kept.get(name, {}), figures)
                    print(name, found[name], flush=True)
    return found


def complaint(name, figure, found, expected):
    if expected is None:
        return f'{name}: {figure}: {found}, and {FIGURES.name} has no such one'
    if not differs(figure, found, expected):
        return None
    change = f'{name}: {figure}: {found} instead of {expected}'
    if found > expected:
        return f'{change}: this has become worse'
    return f'{change}: this has become better; run check_figures.py --update'


def compare(found, kept):
    """Ends the program if anything is not as it was."""
    complaints = [complaint(name, figure, value, kept.get(name, {}).get(figure))
                  for name, figures in found.items()
                  for figure, value in figures.items()]
    complaints = list(filter(None, complaints))
    if complaints:
        raise MeasureError('\n'.join(['not as expected:', *complaints]))
    print(f'every figure is as in {FIGURES.name}')


def major(compiler):
    return compiler.split('.', maxsplit=1)[0]


def check(build, update):
    compiler = machine.compiler(build)
    if update:
        found = measure_all(build, {}, (CALLS, INSTRUCTIONS, IDLE))
        kept = {'compiler': compiler, 'figures': found}
        FIGURES.write_text(json.dumps(kept, indent=2) + '\n', 'utf-8')
        return
    kept = json.loads(FIGURES.read_text('utf-8'))
    figures = (CALLS, INSTRUCTIONS, IDLE)
    if major(compiler) != major(kept['compiler']):
        print('without the instructions, since those are of '
              f"{kept['compiler']}, and this is {compiler}")
        figures = (CALLS, IDLE)
    compare(measure_all(build, kept['figures'], figures), kept['figures'])


def main(arguments):
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('build', help='the build directory')
    parser.add_argument('--update', action='store_true',
                        help='keep what is measured as what to expect')
    options = parser.parse_args(arguments)
    check(options.build, options.update)


if __name__ == '__main__':
    try:
        main(sys.argv[1:])
    except (MeasureError, OSError, ValueError,
            subprocess.SubprocessError) as error:
        sys.exit(f'check_figures: {error}')
