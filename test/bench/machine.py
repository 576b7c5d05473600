"""What the figures were measured on, for the page that shows them."""

import json
import os
import pathlib
import platform
import re
import shlex
import subprocess

# What a server is made of, and the Debian package that has its version.
PACKAGES = {
    'libevent': 'libevent-core-2.1-7', 'OpenSSL': 'libssl3',
    'libuv': 'libuv1', 'Asio': 'libasio-dev', 'Tornado': 'python3-tornado',
    'Python': 'python3', 'valgrind': 'valgrind', 'glibc': 'libc6'}


def _first(pattern, path):
    text = pathlib.Path(path).read_text('utf-8')
    return re.search(pattern, text, re.MULTILINE)[1]


def description():
    """One line: processors, memory, kernel, system."""
    processor = _first(r'^model name\s*: (.*)$', '/proc/cpuinfo')
    memory = int(_first(r'^MemTotal:\s*(\d+) kB$', '/proc/meminfo'))
    system = _first(r'^PRETTY_NAME="(.*)"$', '/etc/os-release')
    return (f'{os.cpu_count()} processors ({processor}), '
            f'{memory / 1024 ** 2:.0f} GiB, {system}, '
            f'Linux {platform.release()}')


def _package_version(package):
    done = subprocess.run(['dpkg-query', '-W', '-f=${Version}', package],
                          stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
                          text=True, check=False)
    return done.stdout or 'not installed'


def compiler(build):
    """Name and version of the C++ compiler of a build directory."""
    commands = pathlib.Path(build) / 'compile_commands.json'
    first = json.loads(commands.read_text('utf-8'))[0]['command']
    words = [word for word in shlex.split(first) if word != 'ccache']
    done = subprocess.run([words[0], '--version'], check=True,
                          stdout=subprocess.PIPE, text=True)
    line = done.stdout.split('\n', maxsplit=1)[0]
    name = 'clang++' if 'clang' in line else 'g++'
    return f"{name} {re.findall(r'[0-9]+[.][0-9]+[.][0-9]+', line)[-1]}"


def versions(build):
    """Of the compiler and of all that the servers are made of."""
    return {'compiler': compiler(build)} | {
        name: _package_version(package) for name, package in PACKAGES.items()}
