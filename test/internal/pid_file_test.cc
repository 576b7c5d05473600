// The pid file apart from the daemon: what happens when somebody else removes
// or replaces it meanwhile.

#include "service/pid_file.h"

#include <cstddef>
#include <filesystem>
#include <string>
#include <utility>

#include <unistd.h>

#include <doctest/doctest.h>

#include "support/child_process.h"
#include "support/fd_count.h"
#include "support/temp_dir.h"

using waterspout::detail::lock_pid_file;
using waterspout::detail::PidFile;
using waterspout::test::exited_with;
using waterspout::test::fd_count;
using waterspout::test::run_in_child;
using waterspout::test::TempDir;

TEST_SUITE_BEGIN("pid_file");

TEST_CASE("PidFile::find makes no file") {
  const TempDir dir;
  CHECK_FALSE(PidFile::find(dir.path("pid")).has_value());
  CHECK(dir.names().empty());
}

TEST_CASE("PidFile removes the file that it has locked") {
  const TempDir dir;
  { const PidFile file = lock_pid_file("test", dir.path("pid")); }
  CHECK(dir.names().empty());
}

TEST_CASE("PidFile removes no other file") {
  const TempDir dir;
  const std::string path = dir.path("pid");
  SUBCASE("that has taken its place") {
    const PidFile file = lock_pid_file("test", path);
    std::filesystem::remove(path);
    (void)dir.write("pid", "17\n");
    CHECK_FALSE(file.in_place());
  }
  SUBCASE("that it has not locked") {
    (void)dir.write("pid", "17\n");
    PidFile file = *PidFile::find(path);
    PidFile other = *PidFile::find(path);
    CHECK(file.try_lock());
    CHECK_FALSE(other.try_lock());
    file.give_away();
  }
  CHECK(dir.read("pid") == "17\n");
}

TEST_CASE("lock_pid_file takes the file that is in place") {
  const TempDir dir;
  const std::string path = dir.path("pid");
  const PidFile old = lock_pid_file("test", path);
  std::filesystem::remove(path);  // which leaves the old one its lock

  PidFile file = lock_pid_file("test", path);
  CHECK(file.in_place());
  file.write_pid();
  CHECK(dir.read("pid") == std::to_string(getpid()) + "\n");
  CHECK(PidFile::find(path)->holder() == getpid());
}

TEST_CASE("lock_pid_file empties the file, so that it names nobody else") {
  const TempDir dir;
  const std::string path = dir.write("pid", "17\n");
  const PidFile file = lock_pid_file("test", path);
  CHECK(dir.read("pid").empty());
  CHECK_FALSE(PidFile::find(path)->holder().has_value());
}

TEST_CASE("A child of the one that locked leaves the file, and has its lock") {
  const TempDir dir;
  const std::string path = dir.path("pid");
  PidFile file = lock_pid_file("test", path);
  file.write_pid();
  const int status = run_in_child([&] {
    file.remove();
    return file.ours() ? 1 : 0;
  });
  CHECK(exited_with(status, 0));
  CHECK(dir.read("pid") == std::to_string(getpid()) + "\n");
  CHECK_FALSE(PidFile::find(path)->try_lock());
}

TEST_CASE("PidFile closes its descriptor") {
  const TempDir dir;
  const std::size_t before = fd_count();
  {
    PidFile file = lock_pid_file("test", dir.path("pid"));
    const PidFile moved = std::move(file);
    CHECK(fd_count() == before + 1);
    CHECK(moved.ours());
  }
  CHECK(fd_count() == before);
  CHECK(dir.names().empty());
}

TEST_SUITE_END();
