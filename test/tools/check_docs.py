#!/usr/bin/env python3
"""Compiles the C++ of the pages, follows their relative links, and looks for
public headers and samples that no page names.

check_docs.py ROOT [-- COMPILER...]   (default compiler: $CXX, else g++)

A block that opens with ```cpp is a whole source file. When its first line is
`// fragment`, it is the inside of a function, in which `loop` (an IOLoop&) and
`stream` (a std::shared_ptr<IOStream>) exist; it may bring its own includes.
"""
import concurrent.futures
import os
import pathlib
import re
import shlex
import subprocess
import sys
import tempfile
import urllib.parse

FENCE = re.compile(r'^\s*(```+|~~~+)\s*([\w+-]*)')
LINK = re.compile(r'!?\[(?:[^\]\[]|\[[^\]]*\])*\]\(\s*<?([^)\s>]+)>?[^)]*\)')
HEADING = re.compile(r'^#{1,6}\s+(.*?)\s*#*\s*$')
FLAGS = ['-std=c++20', '-fsyntax-only', '-x', 'c++', '-Wall', '-Wextra']
STANDARD = ('chrono', 'cstdio', 'exception', 'functional', 'memory',
            'stdexcept', 'string', 'string_view', 'system_error', 'utility',
            'vector')


def pages(root):
    """The pages whose links count; those that may hold C++ come first."""
    found = [root / 'README.md']
    found += sorted((root / 'docs').rglob('*.md'))
    found += [root / name for name in (
        'CONTRIBUTING.md', 'CHANGELOG.md', 'lib/README.md',
        'samples/README.md', 'test/README.md')]
    return [page for page in found if page.is_file()]


def split(page):
    """Returns (prose lines, blocks): each is a list of (line number, text)."""
    prose, blocks = [], []
    fence, language, start, body = None, '', 0, []
    for number, line in enumerate(page.read_text('utf-8').splitlines(), 1):
        match = FENCE.match(line)
        if fence is None and match:
            fence, language, start, body = match[1], match[2], number + 1, []
        elif fence is None:
            prose.append((number, line))
        elif match and match[1].startswith(fence) and not match[2]:
            if language in ('cpp', 'c++', 'cc'):
                blocks.append((start, '\n'.join(body)))
            fence = None
        else:
            body.append(line)
    if fence is not None:
        prose.append((start - 1, ''))
        blocks.append((start - 1, '#error this fence is never closed'))
    return prose, blocks


def slug(heading):
    """The anchor that the usual renderers give a heading."""
    text = re.sub(r'[`*]|\[|\]\([^)]*\)', '', heading).lower()
    return re.sub(r'[^\w\- ]', '', text).replace(' ', '-')


def anchors(page):
    prose, _ = split(page)
    names = set()
    for _, line in prose:
        match = HEADING.match(line)
        if match:
            base = name = slug(match[1])
            repeat = 0
            while name in names:
                repeat += 1
                name = f'{base}-{repeat}'
            names.add(name)
    return names


def broken_links(root, page):
    prose, _ = split(page)
    for number, line in prose:
        for match in LINK.finditer(re.sub(r'`[^`]*`', '', line)):
            url = urllib.parse.urlsplit(match[1])
            if url.scheme or url.netloc:
                continue
            path = urllib.parse.unquote(url.path)
            target = page.parent / path if path else page
            where = f'{page.relative_to(root)}:{number}'
            if not target.exists():
                yield f'{where}: link to {match[1]}: no such file'
            elif url.fragment and target.suffix == '.md':
                if url.fragment not in anchors(target):
                    yield f'{where}: link to {match[1]}: no such heading'


def unnamed(root):
    """Public headers that README.md does not name, samples that theirs does
    not."""
    for page, files in (
            (root / 'README.md', (root / 'include/waterspout').glob('*.h')),
            (root / 'samples/README.md', (root / 'samples').glob('*.cc'))):
        text = page.read_text('utf-8')
        for file in sorted(files):
            if f'`{file.name}`' not in text and f'({file.name})' not in text:
                yield f'{page.relative_to(root)}: does not name {file.name}'


def as_source(root, name, line, block):
    """What the compiler gets for a block, with the page's line numbers."""
    if not block.startswith('// fragment'):
        return f'#line {line} "{name}"\n{block}\n'
    headers = [f'#include <{header}>' for header in STANDARD]
    headers += [f'#include "waterspout/{header.name}"' for header in
                sorted((root / 'include/waterspout').glob('*.h'))]
    body = []
    for text in block.split('\n'):
        is_include = text.lstrip().startswith('#include')
        if is_include:
            headers.append(text)
        body.append('' if is_include else text)
    return '\n'.join(
        headers + ['using namespace std::chrono_literals;',
                   'using namespace waterspout;',
                   '[[maybe_unused]] static void fragment(',
                   '    [[maybe_unused]] IOLoop& loop,',
                   '    [[maybe_unused]] std::shared_ptr<IOStream> stream)',
                   '{{',
                   f'#line {line} "{name}"'] + body + ['}}', ''])


def compile_error(root, compiler, job):
    name, line, block = job
    with tempfile.NamedTemporaryFile('w', suffix='.cc',
                                     encoding='utf-8') as file:
        file.write(as_source(root, name, line, block))
        file.flush()
        result = subprocess.run(
            compiler + FLAGS + ['-I' + str(root / 'include'), file.name],
            capture_output=True, text=True, check=False)
    if result.returncode == 0:
        return None
    return f'{name}:{line}: this block does not compile:\n{result.stderr}'


def main(arguments):
    if not arguments or arguments[0].startswith('-'):
        print(__doc__, file=sys.stderr)
        return 2
    root = pathlib.Path(arguments[0]).resolve()
    compiler = arguments[2:] if arguments[1:2] == ['--'] else []
    compiler = compiler or shlex.split(os.environ.get('CXX', 'g++'))

    found = [complaint for page in pages(root)
             for complaint in broken_links(root, page)]
    found += unnamed(root)
    jobs = [(str(page.relative_to(root)), line, block)
            for page in pages(root) for line, block in split(page)[1]]
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        found += filter(None, pool.map(
            lambda job: compile_error(root, compiler, job), jobs))
    print('\n'.join(found) or
          f'{len(pages(root))} pages, {len(jobs)} blocks of C++: '
          'every link resolves, every block compiles')
    return 1 if found else 0


if __name__ == '__main__':
    sys.exit(main(sys.argv[1:]))
