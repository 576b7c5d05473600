// http_fetch -o: a file that is there when it is complete, and not before.

#include <csignal>
#include <filesystem>
#include <string>
#include <vector>

#include <sys/stat.h>

#include <doctest/doctest.h>

#include "support/http_fetch.h"
#include "support/program.h"
#include "support/scripted_http_server.h"
#include "support/temp_dir.h"

using waterspout::test::http_fetch;
using waterspout::test::http_fetch_command;
using waterspout::test::kHead;
using waterspout::test::kHello;
using waterspout::test::Program;
using waterspout::test::ProgramResult;
using waterspout::test::ScriptedAnswer;
using waterspout::test::ScriptedHttpServer;
using waterspout::test::TempDir;

namespace {

using End = ScriptedAnswer::End;
using Names = std::vector<std::string>;

unsigned mode_of(const std::string& path) {
  return static_cast<unsigned>(std::filesystem::status(path).permissions());
}

}  // namespace

TEST_SUITE_BEGIN("http_fetch_file");

TEST_CASE("http_fetch -o writes the body to a file") {
  const TempDir dir;
  ScriptedHttpServer server(kHello);
  const ProgramResult result =
      http_fetch({"-o", dir.path("body"), server.url()});
  CHECK(result.exit_code == 0);
  CHECK(result.out.empty());
  CHECK(result.err.empty());
  CHECK(dir.read("body") == "hello\n");
  CHECK(dir.names() == Names{"body"});

  const mode_t mask = umask(0);
  umask(mask);
  CHECK(mode_of(dir.path("body")) == (0666 & ~mask));
}

TEST_CASE("http_fetch -o replaces a file, with its mode, and follows links") {
  const TempDir dir;
  ScriptedHttpServer server(kHello);
  dir.write("target", "what was there before");
  std::filesystem::permissions(dir.path("target"),
                               std::filesystem::perms(0640));
  std::filesystem::create_symlink("target", dir.path("link"));

  CHECK(http_fetch({"-o", dir.path("link"), server.url()}).exit_code == 0);

  CHECK(dir.read("target") == "hello\n");
  CHECK(mode_of(dir.path("target")) == 0640);
  CHECK(std::filesystem::is_symlink(dir.path("link")));
  CHECK(dir.names() == Names{"link", "target"});
}

TEST_CASE("http_fetch -o - is standard output") {
  ScriptedHttpServer server(kHello);
  CHECK(http_fetch({"-o", "-", server.url()}).out == "hello\n");
}

TEST_CASE("http_fetch -o writes through to what is no plain file") {
  const TempDir dir;
  ScriptedHttpServer server(kHello);
  std::filesystem::create_symlink("/dev/stdout", dir.path("out"));
  const ProgramResult result =
      http_fetch({"-o", dir.path("out"), server.url()});
  CHECK(result.exit_code == 0);
  CHECK(result.out == "hello\n");
  CHECK(std::filesystem::is_symlink(dir.path("out")));
  CHECK(dir.names() == Names{"out"});
}

TEST_CASE("http_fetch -o leaves nothing of a fetch that fails") {
  const TempDir dir;
  ScriptedHttpServer server(
      {{"/cut", {kHead + "hel"}},
       {"/hold", {kHead + "hel", End::hold}},
       {"/missing", {"HTTP/1.0 404 Not Found\r\n\r\nnone\n"}}});
  Names before;
  std::string text;
  SUBCASE("where there was no file") {}
  SUBCASE("and what was there stays") {
    text = "what was there before";
    dir.write("body", text);
    before = {"body"};
  }
  const std::string file = dir.path("body");
  CHECK(http_fetch({"-o", file, server.url("/cut")}).exit_code == 1);
  CHECK(http_fetch({"-o", file, "--timeout", "0.2", server.url("/hold")})
            .exit_code == 1);
  CHECK(http_fetch({"-o", file, "--max-size", "2", server.url("/cut")})
            .exit_code == 1);
  CHECK(http_fetch({"-o", file, "-f", server.url("/missing")}).exit_code == 22);
  CHECK(http_fetch({"-o", file, "http://"}).exit_code == 1);
  CHECK(dir.names() == before);
  if (!before.empty()) {
    CHECK(dir.read("body") == text);
  }
}

TEST_CASE("http_fetch -o cleans up when a signal ends it") {
  const TempDir dir;
  ScriptedHttpServer server(ScriptedAnswer{kHead + "hel", End::hold});
  for (const int signum : {SIGINT, SIGTERM, SIGHUP}) {
    Program program(
        http_fetch_command({"-v", "-o", dir.path("body"), server.url()}));
    program.wait_for_err("< \n");  // the head has come: it is about the body
    CHECK(dir.names().size() == 1);
    CHECK(dir.names().front().substr(0, 10) == "body.part-");

    program.send_signal(signum);

    const ProgramResult result = program.wait();
    CHECK(result.signal == signum);
    CHECK(result.err.find(server.url() + ": interrupted: ") !=
          std::string::npos);
    CHECK(dir.names().empty());
  }
}

TEST_CASE("http_fetch -o goes on where it was told to ignore a signal") {
  const TempDir dir;
  ScriptedHttpServer server(ScriptedAnswer{kHead + "hel", End::hold});
  Program program({"/bin/sh", "-c", "trap '' HUP && exec \"$@\"", "sh",
                   http_fetch_command({}).front(), "-v", "--timeout", "0.5",
                   "-o", dir.path("body"), server.url()});
  program.wait_for_err("< \n");
  program.send_signal(SIGHUP);
  const ProgramResult result = program.wait();
  CHECK(result.exit_code == 1);
  CHECK(result.err.find("timed out after 0.5 s") != std::string::npos);
}

TEST_CASE("http_fetch -o never looks complete, not even when it is killed") {
  const TempDir dir;
  ScriptedHttpServer server(ScriptedAnswer{kHead + "hel", End::hold});
  Program program(
      http_fetch_command({"-v", "-o", dir.path("body"), server.url()}));
  program.wait_for_err("< \n");
  program.send_signal(SIGKILL);
  CHECK(program.wait().signal == SIGKILL);
  CHECK_FALSE(std::filesystem::exists(dir.path("body")));
}

TEST_CASE("http_fetch -o tells that the file cannot be written") {
  const TempDir dir;
  ScriptedHttpServer server(kHello);
  std::string file;
  std::string reason;
  SUBCASE("because its folder is not there") {
    file = dir.path("none/body");
    reason = "No such file or directory";
  }
  SUBCASE("because it is a folder") {
    file = dir.path();
    reason = "Is a directory";
  }
  SUBCASE("because the device is full") {
    file = "/dev/full";
    reason = "No space left on device";
  }
  const ProgramResult result = http_fetch({"-o", file, server.url()});
  CHECK(result.exit_code == 1);
  CHECK(result.err ==
        "http_fetch: " + server.url() + ": " + file + ": " + reason + "\n");
}

TEST_SUITE_END();
