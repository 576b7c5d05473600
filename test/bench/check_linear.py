#!/usr/bin/python3
"""Checks that a search costs the same for each byte, however many came before.

search_cost waits for what does not come among one, two and three parts of so
many bytes. The third part may cost no more than the second, but for a little; a
search that began anew with every piece would pay two thirds more for it.
"""

import argparse
import pathlib
import subprocess
import sys
import tempfile

from measure import MeasureError, counted_instructions, counting

MOST = 1.2
# Search, bytes in a piece, pieces in a part. A piece costs a turn of the loop
# besides: what is searched in vain must be many times that.
SETUPS = [('until', 1, 16384), ('until', 1024, 1024), ('until', 65536, 64),
          ('nearly', 1024, 1024), ('regex', 1, 16384), ('regex', 1024, 1024)]


def instructions(command):
    with tempfile.NamedTemporaryFile(mode='r', encoding='utf-8') as log:
        subprocess.run([*counting(log.name), *command], check=True)
        return counted_instructions(log.read())


def check_search(program, search, piece, pieces):
    cost = [instructions([program, search, str(piece),
                          str(parts * pieces * piece)]) for parts in (1, 2, 3)]
    second, third = cost[1] - cost[0], cost[2] - cost[1]
    print(f'{search}, in pieces of {piece}: the third {pieces * piece} bytes '
          f'cost {third / second:.3f} of what the second did', flush=True)
    if third > MOST * second:
        raise MeasureError(f'{search} in pieces of {piece} costs more the more '
                           f'there is: {second}, then {third} instructions')


def main(arguments):
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('build', help='the build directory')
    program = pathlib.Path(
        parser.parse_args(arguments).build) / 'test/bench/search_cost'
    for setup in SETUPS:
        check_search(str(program), *setup)


if __name__ == '__main__':
    try:
        main(sys.argv[1:])
    except (MeasureError, OSError, subprocess.SubprocessError) as error:
        sys.exit(f'check_linear: {error}')
