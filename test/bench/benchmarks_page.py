"""Writes the results into docs/benchmarks.md, and the chart beside it."""

import pathlib
import re
import textwrap

import chart
from measure import (CALLS, CPU, IDLE, INSTRUCTIONS, PEAK, SHARE, TO_LIMIT,
                     MeasureError)
from report import NOTHING, middle_half, number, ratio, value
from workloads import LIMIT, OURS, OURS_AT_ONCE, WORKLOADS, servers

PAGE = pathlib.Path(__file__).parents[2] / 'docs/benchmarks.md'
CHART = PAGE.with_suffix('.svg')

BEGIN = '<!-- Written by ./dev bench --write-docs, from here -->'
END = '<!-- to here. -->'

NAMES = [server.name for server in servers('.')
         if server.name != OURS_AT_ONCE]

# How much better a peer must be before it counts as better: the figures' noise.
NOISE = {CALLS: 1.01, INSTRUCTIONS: 1.01, CPU: 1.03}


def _rows(title, kept, figure, text):
    """A row for each workload that has the figure, a column for each server;
    text(entries, name) fills the cells."""
    lines = [f'| {title} | ' + ' | '.join(NAMES) + ' |',
             '|---|' + '--:|' * len(NAMES)]
    for workload in WORKLOADS:
        entries = kept['results'].get(workload.name, {})
        if figure not in workload.figures or not entries:
            continue
        cells = (text(entries, name) for name in NAMES)
        lines.append(f'| {workload.title} | ' + ' | '.join(cells) + ' |')
        if OURS_AT_ONCE in entries:
            cells = [text(entries, OURS_AT_ONCE)] + [''] * (len(NAMES) - 1)
            lines.append('| the same, the next read right after the write | ' +
                         ' | '.join(cells) + ' |')
    return lines


def _values(title, kept, figure, digits=0, shown=None):
    def text(entries, name):
        return number(value(entries.get(name, {}), shown or figure), digits)
    return _rows(title, kept, figure, text)


def _ratios(title, kept):
    def text(entries, name):
        found = ratio(entries, name, CPU)
        if found is None or name == LIMIT:
            return number(found, 2)
        low, high = middle_half(entries[name][TO_LIMIT])
        return f'{found:.2f} ({low:.2f}-{high:.2f})'
    return _rows(title, kept, CPU, text)


def _better(entries, figure):
    """Peers that need clearly less than we do, with their figures; of
    processor time, the ratios to the limit."""
    def found(name):
        return (ratio(entries, name, CPU) if figure == CPU else
                value(entries.get(name, {}), figure))
    ours = found(OURS)
    others = {name: found(name) for name in NAMES[1:]}
    return ours, {name: other for name, other in others.items()
                  if ours and other and other * NOISE[figure] < ours}


def _behind(kept):
    """Where we lose, a line for each figure and workload."""
    words = {CALLS: ('system calls', 2), CPU: ('of the limit\'s processor time', 2),
             INSTRUCTIONS: ('instructions', 0)}
    for figure, (unit, digits) in words.items():
        for workload in WORKLOADS:
            entries = kept['results'].get(workload.name, {})
            ours, better = _better(entries, figure)
            if better:
                others = ', '.join(f'{name} {number(other, digits)}'
                                   for name, other in better.items())
                yield (f'- {workload.title}: {number(ours, digits)} {unit}; '
                       f'{others}.')


def _machine(kept):
    versions = ', '.join(f'{name} {version}'
                         for name, version in kept['versions'].items())
    return textwrap.wrap(f"Measured on {kept['machine']}; {versions}. "
                         f"{kept['turns']} turns.", 85)


def _notes(kept):
    """Why figures are missing."""
    for workload in WORKLOADS:
        for name, entry in kept['results'].get(workload.name, {}).items():
            if 'note' in entry:
                yield f"- {name}, {workload.title}: {entry['note']}."


def _micro(kept):
    for name, entry in kept['micro'].items():
        yield from [f'### {name}', '', '```text',
                    *entry['output'].rstrip().split('\n'), '```', '']


def _sections(kept):
    return {
        'Server CPU per operation, to ' + LIMIT:
            _ratios('median of the turns (their middle half)', kept),
        'Server CPU per operation':
            _values('nanoseconds, median', kept, CPU),
        'System calls': _values('per operation', kept, CALLS, 2),
        'User instructions': _values('per operation', kept, INSTRUCTIONS),
        'Memory':
            _values('bytes for each connection', kept, IDLE) + [''] +
            _values('KiB at most, in the timed runs', kept, CPU, shown=PEAK),
        'Fairness':
            _values('what the least served got of the mean', kept, SHARE, 2),
        'What is missing': list(_notes(kept)) or ['Nothing.'],
        'Where another server needs less':
            list(_behind(kept)) or ['Nowhere.'],
    }


def results(kept):
    """The generated part of the page."""
    lines = ['', *_machine(kept), '',
             f'![The main figures as ratios to epoll]({CHART.name})', '']
    for title, content in _sections(kept).items():
        lines += [f'### {title}', '', *content, '']
    return '\n'.join([*lines, *_micro(kept)])


def write(kept):
    """Rewrites the results of the page, and the chart."""
    page = PAGE.read_text('utf-8')
    pattern = re.escape(BEGIN) + '.*' + re.escape(END)
    text = '\n'.join([BEGIN, results(kept), END])
    page, count = re.subn(pattern, lambda _: text, page, flags=re.DOTALL)
    if count != 1:
        raise MeasureError(f'{PAGE} has lost its marks: {BEGIN} ... {END}')
    PAGE.write_text(page, 'utf-8')
    CHART.write_text(chart.draw(kept['results']), 'utf-8')
    print(f'wrote {PAGE} and {CHART}')
