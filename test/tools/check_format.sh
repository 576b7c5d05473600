#!/usr/bin/env bash
# Fails when clang-format 14 would change a source file; exits 77 (meson: skip)
# where it is not installed, as other versions format differently.
set -euo pipefail
cd "${1:-$(dirname "$0")/../..}"

if ! command -v clang-format-14 >/dev/null; then
  echo 'check_format: skipped: clang-format-14 is not installed'
  exit 77
fi

folders=()
for folder in include lib samples test; do
  if [[ -d $folder ]]; then
    folders+=("$folder")
  fi
done
find "${folders[@]}" -type f \( -name '*.cc' -o -name '*.h' \) -print0 |
  xargs -0 --no-run-if-empty clang-format-14 --dry-run --Werror
