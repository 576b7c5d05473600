#!/usr/bin/env bash
# Installs the library into a temporary prefix and uses it as its users would:
# shared and static by pkg-config, and as a meson subproject, there with nothing
# that can be left out.
set -Eeuo pipefail

source_root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
work=$(mktemp -d)
step='starting'
trap 'rm -rf "$work"' EXIT
trap 'echo "install_test: stopped while $step" >&2' ERR

say() {
  step=$1
  echo "-- $1"
}

quietly() {
  "$@" >"$work/log" 2>&1 || {
    cat "$work/log" >&2
    return 1
  }
}

# A program that takes part of every floor, and prints "ok".
write_user_program() {
  local header
  {
    for header in "$source_root"/include/waterspout/*.h; do
      echo "#include \"waterspout/${header##*/}\""
    done
    cat <<'END'
#include <cstdio>

int main() {
  waterspout::IOLoop loop;
  bool ran = false;
  loop.add_callback([&] {
    ran = true;
    loop.stop();
  });
  loop.start();
  std::puts(ran ? "ok" : "the callback did not run");
  return ran ? 0 : 1;
}
END
  } >"$1"
}

check_output() {
  local said
  said=$("$@")
  [[ $said == ok ]]
}

needs_shared_library() {
  readelf -d "$1" | grep -q 'NEEDED.*libwaterspout'
}

say 'building the library alone'
quietly meson setup "$work/build" "$source_root" --prefix="$work/prefix" \
  --libdir=lib --buildtype=plain -Dsamples=false -Dtests=false -Ddocs=true
quietly ninja -C "$work/build"

say 'installing it'
quietly meson install -C "$work/build" --no-rebuild
for header in "$source_root"/include/waterspout/*.h; do
  cmp "$header" "$work/prefix/include/waterspout/${header##*/}"
done
test -f "$work/prefix/share/doc/waterspout/conventions.md"

export PKG_CONFIG_PATH=$work/prefix/lib/pkgconfig
cxx=${CXX:-g++}
write_user_program "$work/user.cc"

say 'using the shared library by pkg-config'
read -ra flags < <(pkg-config --cflags --libs waterspout)
"$cxx" -std=c++20 "$work/user.cc" -o "$work/shared" "${flags[@]}" \
  -Wl,-rpath,"$work/prefix/lib"
needs_shared_library "$work/shared"
check_output "$work/shared"

say 'using the static library by pkg-config --static'
read -ra flags < <(pkg-config --static --cflags --libs waterspout)
flags=("${flags[@]/#-lwaterspout/-l:libwaterspout.a}")
"$cxx" -std=c++20 "$work/user.cc" -o "$work/static" "${flags[@]}"
if needs_shared_library "$work/static"; then
  echo 'install_test: the program linked with the archive needs the .so' >&2
  exit 1
fi
check_output "$work/static"

say 'using it as a meson subproject, every feature off'
mkdir -p "$work/user/subprojects"
ln -s "$source_root" "$work/user/subprojects/waterspout"
cp "$work/user.cc" "$work/user/"
cat >"$work/user/meson.build" <<'END'
project('user', 'cpp', default_options: 'cpp_std=c++20')
executable('user', 'user.cc',
  dependencies: dependency('waterspout', fallback: 'waterspout'))
END
quietly meson setup "$work/user/build" "$work/user" --werror \
  --wrap-mode=forcefallback -Dwaterspout:regex=disabled \
  -Dwaterspout:tls=disabled -Dwaterspout:cares=disabled
quietly ninja -C "$work/user/build"
check_output "$work/user/build/user"

say 'the install test has passed'
