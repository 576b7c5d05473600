#!/usr/bin/env bash
# Builds Debian's libevent with a sanitizer:
#
#   build_libevent.sh SANITIZER COMPILER PREFIX
#   build_libevent.sh thread clang-14 build-clang-tsan/libevent
#
# Debian's own binary is invisible to the sanitizers: they see neither a race
# nor freed memory that only libevent touches. So this takes Debian's source
# with Debian's patches and Debian's configuration, and compiles it anew.
#
# The libraries are shared ones, because both our shared library and the test
# programs link to libevent: an archive would give each of them a copy.
#
# When PREFIX holds the result already, nothing happens. The source stays in
# build-libevent/. Exits 3, with one line, if it cannot be had.
set -Eeuo pipefail
trap 'echo "build_libevent: stopped at line $LINENO" >&2' ERR

if (($# != 3)); then
  echo 'usage: build_libevent.sh SANITIZER COMPILER PREFIX' >&2
  exit 2
fi
readonly sanitizer=$1 compiler=$2
prefix=$(realpath -m "$3")
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)

# What pkg-config calls a library, and its sources.
readonly CORE=(buffer bufferevent bufferevent_filter bufferevent_pair
  bufferevent_ratelim bufferevent_sock epoll event evmap evthread evutil
  evutil_rand evutil_time listener log poll select signal strlcpy)
readonly EXTRA=(evdns event_tagging evrpc http)
readonly PTHREADS=(evthread_pthread)

installed=$(dpkg-query -W -f='${source:Version}' libevent-dev)
source=$root/build-libevent/$installed

# --- The source

# Debian's own entries among apt's, both kinds, as entries for source packages.
write_source_entries() {
  local folder=$1
  local suites file
  suites=$(sed -n 's/^VERSION_CODENAME=//p' /etc/os-release)
  suites="$suites(-updates|-security)?"
  for file in /etc/apt/sources.list /etc/apt/sources.list.d/*.list; do
    if [[ -f $file ]]; then
      sed -nE "s/^deb(\s.*\s$suites\s.*main)/deb-src\1/p" "$file"
    fi
  done >"$folder/lines.list"
  for file in /etc/apt/sources.list.d/*.sources; do
    if [[ -f $file ]]; then
      awk -v RS= -v ORS='\n\n' \
        "/(^|\n)Suites:(.* )?$suites( |\n|\$)/ && /(^|\n)Components:.*main/" \
        "$file"
    fi
  done | sed 's/^Types:.*/Types: deb-src/' >"$folder/stanzas.sources"
}

# Settings with which apt leaves everything of the machine's as it is.
write_apt_settings() {
  cat <<END
Dir::Etc::SourceList "/dev/null";
Dir::Etc::SourceParts "$1/entries";
Dir::State::lists "$1/lists";
Dir::Cache "$1/cache";
Acquire::Retries "1";
Acquire::http::Timeout "20";
Acquire::https::Timeout "20";
#clear APT::Update::Pre-Invoke;
#clear APT::Update::Post-Invoke;
#clear APT::Update::Post-Invoke-Success;
END
}

# Unpacks and patches the source in $temp/source.
fetch_source() {
  local apt=(apt-get -q -c "$temp/apt.conf")
  mkdir -p "$temp"/{entries,lists/partial,cache/archives/partial,source}
  write_source_entries "$temp/entries"
  write_apt_settings "$temp" >"$temp/apt.conf"
  timeout 120 "${apt[@]}" update &&
    cd "$temp/source" &&
    timeout 120 "${apt[@]}" source libevent
}

get_source() {
  if [[ -d $source ]]; then
    return 0
  fi
  # In /tmp and open to all, as apt downloads with another user's rights.
  temp=$(mktemp -d)
  trap 'rm -rf "$temp"' EXIT
  chmod 755 "$temp"
  if ! (fetch_source) >"$temp/log" 2>&1; then
    echo "build_libevent: no source of libevent from apt:" \
      "$(grep -m 1 '^[EW]:' "$temp/log" || tail -n 1 "$temp/log")"
    return 1
  fi
  mkdir -p "${source%/*}"
  mv -T "$temp"/source/libevent-*/ "$source"
}

# --- The build

# compile_all FLAG...: one object for each source.
compile_all() {
  printf '%s\n' "${CORE[@]}" "${EXTRA[@]}" "${PTHREADS[@]}" |
    timeout 300 xargs -P "$(nproc)" -I NAME \
      "$compiler" "$@" -c "$source/NAME.c" -o NAME.o
}

# link NAME OBJECT... [-lLIBRARY]: clang's sanitizer is in programs only, so its
# symbols stay open here.
link() {
  local name=$1
  shift
  "$compiler" -shared -fPIC "-fsanitize=$sanitizer" -pthread \
    -Wl,-soname,"$name.so" -o "lib/$name.so" -Llib "$@"
  nm -D --undefined-only "lib/$name.so" | grep -E '__(a|t|ub)san_' >/dev/null
  cat >"lib/pkgconfig/$name.pc" <<END
prefix=$prefix
Name: $name
Description: Debian's $name $installed, built with -fsanitize=$sanitizer
Version: ${installed%%-*}
Libs: -L\${prefix}/lib -l${name#lib}
Cflags: -I\${prefix}/include
END
}

build() {
  local flags=("-fsanitize=$sanitizer" -fno-omit-frame-pointer -g -O1 -fPIC
    -pthread -w -D_GNU_SOURCE -I. -Iinclude "-I$source" "-I$source/compat")
  mkdir -p include lib/pkgconfig
  cp -r "$source/include/event2" include
  cp /usr/include/event2/event-config.h include/event2
  # The template, as it is, asks for nothing beyond the flags.
  cp "$source/evconfig-private.h.in" evconfig-private.h
  compile_all "${flags[@]}"
  link libevent_core "${CORE[@]/%/.o}"
  link libevent_extra "${EXTRA[@]/%/.o}" -levent_core
  link libevent_pthreads "${PTHREADS[@]/%/.o}" -levent_core
  rm -- *.o
}

# Everything that the result depends on.
recipe() {
  echo "$installed" "$sanitizer" "$prefix"
  "$compiler" --version
  cat "${BASH_SOURCE[0]}"
}

stamp=$(recipe | sha256sum)
if [[ -f $prefix/stamp && $(<"$prefix/stamp") == "$stamp" ]]; then
  exit 0
fi
get_source || exit 3
rm -rf "$prefix"
mkdir -p "$prefix"
cd "$prefix"
build
echo "$stamp" >stamp
