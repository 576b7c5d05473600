"""Draws the main ratios as a bar chart, in SVG."""

import html

from measure import CALLS, CPU
from report import ratio
from workloads import LIMIT, OURS

# A group of bars: its label, and the workloads of its two panels.
GROUPS = [
    ('line echo, 1 connection', 'line1', 'line1'),
    ('line echo, 100 connections', 'line100', 'line100'),
    ('16 lines in flight', 'flight100', 'flight50'),
    ('64 KiB messages', 'bytes64k', 'bytes64k'),
    ('http keep-alive', 'http100', 'http50'),
    ('connect, line, close', 'churn', 'churn'),
    ('receiving', 'receiving', 'receiving'),
    ('sending', 'sending', 'sending'),
]
PANELS = [('server CPU', CPU, 1), ('system calls', CALLS, 2)]

# Colours that differ in lightness too, on white as on black.
COLOURS = {OURS: '#d9480f', 'libevent': '#1c7ed6', 'bufferevent': '#74c0fc',
           'libuv': '#2f9e44', 'asio': '#9775fa', 'tornado': '#adb5bd'}

MOST = 4  # where bars end that would be longer; their number tells
BAR, GAP = 10, 14
LABELS, PANEL, MARGIN = 190, 310, 50
TOP = 90
GROUP = BAR * len(COLOURS) + GAP
WIDTH = LABELS + len(PANELS) * (PANEL + MARGIN)
HEIGHT = TOP + GROUP * len(GROUPS) + 6

STYLE = """
  text { font: 12px sans-serif; fill: #333; }
  .number { font-size: 9px; }
  .ground { fill: #fff; }
  .limit { stroke: #333; }
  @media (prefers-color-scheme: dark) {
    text { fill: #ddd; }
    .ground { fill: #0d1117; }
    .limit { stroke: #ddd; }
  }"""


def _text(x, y, content, **attributes):
    extra = ''.join(f' {name.rstrip("_").replace("_", "-")}="{found}"'
                    for name, found in attributes.items())
    return f'<text x="{x:.0f}" y="{y:.0f}"{extra}>{html.escape(content)}</text>'


def _bar(x, y, colour, found):
    length = min(found, MOST) * PANEL / MOST
    return [f'<rect x="{x}" y="{y}" width="{length:.1f}" height="{BAR - 1}"'
            f' fill="{colour}"/>',
            _text(x + max(length, PANEL / MOST) + 3, y + BAR - 2,
                  f'{found:.2f}', class_='number')]


def _bars(results, figure, workload, x, top):
    for index, (name, colour) in enumerate(COLOURS.items()):
        found = ratio(results.get(workload, {}), name, figure)
        if found is not None:
            yield from _bar(x, top + index * BAR, colour, found)


def _panel(results, index):
    title, figure, column = PANELS[index]
    left = LABELS + index * (PANEL + MARGIN)
    yield _text(left, TOP - 14, f'{title} per operation, to {LIMIT}')
    for row, group in enumerate(GROUPS):
        yield from _bars(results, figure, group[column], left,
                         TOP + row * GROUP)
    limit = left + PANEL / MOST
    yield (f'<line class="limit" x1="{limit}" x2="{limit}" y1="{TOP - 6}"'
           f' y2="{HEIGHT - GAP}" stroke-dasharray="3 3"/>')


def _legend():
    for index, (name, colour) in enumerate(COLOURS.items()):
        x = LABELS + index * 110
        yield (f'<rect x="{x}" y="16" width="12" height="12"'
               f' fill="{colour}"/>')
        yield _text(x + 17, 26, name)
    yield _text(LABELS, 46, f'shorter is better; the dashed line is {LIMIT}; '
                f'bars end at {MOST}, whatever their number says')


def draw(results):
    """The chart of the results of compare.py."""
    labels = (_text(LABELS - 10, TOP + row * GROUP + GROUP / 2 - 4, group[0],
                    text_anchor='end') for row, group in enumerate(GROUPS))
    panels = (shape for index in range(len(PANELS))
              for shape in _panel(results, index))
    return '\n'.join([
        '<svg xmlns="http://www.w3.org/2000/svg" '
        f'width="{WIDTH}" height="{HEIGHT}" viewBox="0 0 {WIDTH} {HEIGHT}">',
        f'<style>{STYLE}\n</style>',
        '<rect class="ground" width="100%" height="100%"/>',
        *_legend(), *labels, *panels, '</svg>', ''])
