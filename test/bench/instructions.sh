#!/usr/bin/env bash
# Prints what the programs of this folder cost in user-space instructions, by
# callgrind, and the echo in system calls of every kind, by strace: from two run
# lengths each, so that the start and the end of a run do not count.
#
#   test/bench/instructions.sh [BUILD]     BUILD is build-release unless given
set -Eeuo pipefail

readonly PROGRAMS=${1:-build-release}/test

temp_dir=$(mktemp -d)
trap 'rm -rf "$temp_dir"' EXIT

# instructions COMMAND...: how many the whole run took. A client that it starts
# is another program, which callgrind does not follow.
instructions() {
  valgrind --tool=callgrind --callgrind-out-file="$temp_dir/callgrind" \
    "$@" 2>"$temp_dir/log" || { cat "$temp_dir/log" >&2; return 1; }
  sed -n 's/^==[0-9]*== Collected : //p' "$temp_dir/log"
}

# system_calls COMMAND...: those of the program itself.
system_calls() {
  strace -c -U calls,name -o "$temp_dir/calls" "$@"
  sed -n 's/^ *\([0-9]*\) total$/\1/p' "$temp_dir/calls"
}

# slope FEW MANY COUNT: (MANY - FEW) / COUNT
slope() {
  awk -v few="$1" -v many="$2" -v count="$3" \
    'BEGIN { printf "%.3f", (many - few) / count }'
}

# echo_cost SERVER CONNECTIONS LINES
echo_cost() {
  local few=3200 many=12800
  local run=("$PROGRAMS/echo_cost" "$@")
  local instructions calls
  instructions=$(slope "$(instructions "${run[@]}" $few)" \
    "$(instructions "${run[@]}" $many)" $((many - few)))
  calls=$(slope "$(system_calls "${run[@]}" $few)" \
    "$(system_calls "${run[@]}" $many)" $((many - few)))
  printf '%-10s %11d %5d %12.0f %6.3f\n' "$@" "$instructions" "$calls"
}

# read_until_cost PIECE BYTES: what a byte costs of the second quarter of four
# times BYTES, and of their second half, which must be the same.
read_until_cost() {
  local piece=$1 bytes=$2
  local one two four
  one=$(instructions "$PROGRAMS/read_until_cost" "$piece" "$bytes")
  two=$(instructions "$PROGRAMS/read_until_cost" "$piece" $((2 * bytes)))
  four=$(instructions "$PROGRAMS/read_until_cost" "$piece" $((4 * bytes)))
  printf '%13d %10d %14.3f %11.3f\n' "$piece" $((4 * bytes)) \
    "$(slope "$one" "$two" "$bytes")" "$(slope "$two" "$four" $((2 * bytes)))"
}

echo 'echo of a 64-byte line: the server, for each request'
echo
echo 'server     connections lines instructions  calls'
for server in waterspout libevent; do
  echo_cost "$server" 1 1
  echo_cost "$server" 16 1
  echo_cost "$server" 1 16
done
echo
echo 'read_until without its delimiter: instructions for each byte'
echo
echo 'piece (bytes)      bytes second quarter second half'
read_until_cost 1 16384
read_until_cost 64 1048576
read_until_cost 1024 4194304
read_until_cost 65536 4194304
