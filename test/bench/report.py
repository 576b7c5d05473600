"""Turns measured figures into numbers to compare, and into tables."""

import statistics

from measure import CALLS, CPU, IDLE, INSTRUCTIONS, PEAK, SHARE, TO_LIMIT
from workloads import LIMIT

NOTHING = '-'


def value(entry, figure):
    """The figure of a server, or None; the median of several."""
    found = entry.get(figure)
    return statistics.median(found) if isinstance(found, list) else found


def ratio(entries, server, figure):
    """A server's figure to that of the limit, or None. Processor time has been
    compared turn by turn."""
    if figure == CPU and server != LIMIT:
        return value(entries.get(server, {}), TO_LIMIT)
    ours = value(entries.get(server, {}), figure)
    limit = value(entries.get(LIMIT, {}), figure)
    return ours / limit if ours and limit else None


def middle_half(found):
    """Where the middle half of the values lies: two quartiles."""
    low, _, high = statistics.quantiles(found, n=4)
    return low, high


def number(found, digits=0):
    return NOTHING if found is None else f'{found:,.{digits}f}'


def _spread(entry):
    ratios = entry.get(TO_LIMIT)
    return '{:.2f}-{:.2f}'.format(*middle_half(ratios)) if ratios else NOTHING


def _to_limit(figure):
    return ('to ' + LIMIT,
            lambda entries, name: number(ratio(entries, name, figure), 2))


def _plain(title, figure, digits=0):
    return (title, lambda entries, name: number(
        value(entries[name], figure), digits))


# The columns that a figure takes: a title, and the text for a server.
COLUMNS = {
    CALLS: [_plain('system calls', CALLS, 3), _to_limit(CALLS)],
    INSTRUCTIONS: [_plain('instructions', INSTRUCTIONS),
                   _to_limit(INSTRUCTIONS)],
    CPU: [_plain('CPU ns', CPU), _to_limit(CPU),
          ('middle half', lambda entries, name: _spread(entries[name])),
          _plain('peak KiB', PEAK)],
    IDLE: [_plain('bytes a connection', IDLE), _to_limit(IDLE)],
    SHARE: [_plain('least share', SHARE, 2)],
}


def aligned(rows):
    """Rows of equal length as lines: the first column to the left."""
    widths = [max(map(len, column)) for column in zip(*rows)]
    return [row[0].ljust(widths[0]) + ''.join(
        '  ' + cell.rjust(width) for cell, width in zip(row[1:], widths[1:]))
        for row in rows]


def text_table(workload, entries):
    """The table of a workload, for a terminal. All figures are per
    operation."""
    columns = [column for figure in workload.figures
               for column in COLUMNS[figure]]
    named = [name for name, entry in entries.items() if 'note' not in entry]
    rows = [['server', *(title for title, _ in columns)]]
    rows += [[name, *(cell(entries, name) for _, cell in columns)]
             for name in named]
    notes = [f"{name}: {entry['note']}" for name, entry in entries.items()
             if 'note' in entry]
    return '\n'.join([f'{workload.name}: {workload.title}', '',
                      *aligned(rows), *notes, ''])
