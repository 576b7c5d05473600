// What http_server answers, without a connection: files and directories, and
// the conditions of a request.

#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <memory>
#include <stdexcept>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include <doctest/doctest.h>

#include "waterspout/netutil.h"

#include "http_server/files.h"
#include "http_server/http_date.h"
#include "http_server/request.h"
#include "http_server/response.h"
#include "support/few_descriptors.h"
#include "support/temp_dir.h"

using http_server::answer;
using http_server::BadRequest;
using http_server::Date;
using http_server::Directory;
using http_server::format_date;
using http_server::Method;
using http_server::Request;
using http_server::Response;
using waterspout::test::FewDescriptors;
using waterspout::test::TempDir;

namespace {

using Kind = Directory::Entry::Kind;
using std::chrono::seconds;

const Date kModified = Date(seconds(784111777));
const Date kNow = kModified + seconds(1000);
const std::string kModifiedText = "Sun, 06 Nov 1994 08:49:37 GMT";

void set_modified(const std::string& path, Date date) {
  const timespec time{.tv_sec = date.time_since_epoch().count(), .tv_nsec = 0};
  const timespec times[] = {time, time};
  REQUIRE(utimensat(AT_FDCWD, path.c_str(), times, 0) == 0);
}

/// A directory with a.txt in it, which holds "0123456789".
class Fixture {
 public:
  Fixture() { set_modified(files.write("a.txt", "0123456789"), kModified); }

  [[nodiscard]] Response get(const Request& request, Date now = kNow) const {
    return answer(request, Directory(files.path()), now);
  }

  [[nodiscard]] Response get(const std::string& path) const {
    Request request;
    request.path = path;
    return get(request);
  }

  [[nodiscard]] Kind kind(const std::string& path) const {
    return Directory(files.path()).open(path).kind;
  }

  const TempDir files;
};

Request request_for(const std::string& path) {
  Request request;
  request.path = path;
  return request;
}

int status_of(const Response& response) {
  return std::stoi(response.text.substr(response.text.find(' ')));
}

// The value of a field; "none" if there is none.
std::string field(const Response& response, const std::string& name) {
  const auto begin = response.text.find("\r\n" + name + ": ");
  if (begin == std::string::npos) {
    return "none";
  }
  const auto value = begin + name.size() + 4;
  return response.text.substr(value, response.text.find("\r\n", value) - value);
}

}  // namespace

TEST_SUITE_BEGIN("http_server_answer");

TEST_CASE("Directory refuses to be made of anything but a directory") {
  const TempDir files;
  CHECK_THROWS_AS(Directory(files.path("missing")), std::system_error);
  CHECK_THROWS_AS(Directory(files.write("file", "")), std::system_error);
}

TEST_CASE("Directory::open tells files, directories and nothing apart") {
  const Fixture fixture;
  std::filesystem::create_directory(fixture.files.path("sub"));
  fixture.files.write("sub/b", "");
  CHECK(fixture.kind("a.txt") == Kind::file);
  CHECK(fixture.kind("./a.txt") == Kind::file);
  CHECK(fixture.kind("sub//b") == Kind::file);
  CHECK(fixture.kind("") == Kind::directory);
  CHECK(fixture.kind("sub") == Kind::directory);
  CHECK(fixture.kind("sub/") == Kind::directory);
  CHECK(fixture.kind("missing") == Kind::missing);
  CHECK(fixture.kind("a.txt/") == Kind::missing);
  CHECK(fixture.kind("a.txt/b") == Kind::missing);
  CHECK(fixture.kind(std::string(1000, 'x')) == Kind::missing);
  CHECK(fixture.kind(std::string(5000, '/') + "x") != Kind::file);
}

TEST_CASE("Directory::open follows links inside, and none out") {
  const TempDir outside;
  outside.write("secret", "secret");
  const Fixture fixture;
  const auto link = [&](const std::string& to, const std::string& name) {
    std::filesystem::create_symlink(to, fixture.files.path(name));
  };
  std::filesystem::create_directory(fixture.files.path("sub"));
  link("a.txt", "inside");
  link("../a.txt", "sub/up");
  link("sub/../a.txt", "around");
  CHECK(fixture.kind("inside") == Kind::file);
  CHECK(fixture.kind("sub/up") == Kind::file);
  CHECK(fixture.kind("around") == Kind::file);

  const std::string name = std::filesystem::path(outside.path()).filename();
  link(outside.path(), "absolute");
  link("../" + name, "relative");
  link("../../" + name + "/secret", "sub/far");
  link("..", "parent");
  link("loop", "loop");
  link("/proc/self/fd/0", "magic");
  link("gone", "broken");
  for (const char* path :
       {"absolute", "absolute/secret", "relative", "relative/secret", "sub/far",
        "parent", "loop", "magic", "..", "/etc/passwd"}) {
    CAPTURE(path);
    CHECK(fixture.kind(path) == Kind::forbidden);
  }
  CHECK(fixture.kind("broken") == Kind::missing);
}

TEST_CASE(
    "Directory::open opens neither pipes nor sockets, and does not wait") {
  const Fixture fixture;
  const std::string pipe = fixture.files.path("pipe");
  REQUIRE(mkfifo(pipe.c_str(), 0600) == 0);
  const auto socket = waterspout::bind_unix_socket(fixture.files.path("s"));
  CHECK(fixture.kind("pipe") == Kind::forbidden);
  CHECK(fixture.kind("s") == Kind::forbidden);
}

TEST_CASE("Directory::open says when there are no descriptors left") {
  const Fixture fixture;
  const Directory directory(fixture.files.path());
  const FewDescriptors none(0);
  CHECK(directory.open("a.txt").kind == Kind::unavailable);
  CHECK(status_of(answer(request_for("a.txt"), directory, kNow)) == 503);
}

TEST_CASE("Directory stays the same when its path means something else") {
  const TempDir files;
  const std::string path = files.path("served");
  std::filesystem::create_directory(path);
  files.write("served/a", "");
  const Directory directory(path);
  std::filesystem::rename(path, files.path("moved"));
  std::filesystem::create_directory(path);
  CHECK(directory.open("a").kind == Kind::file);
}

TEST_CASE("File::read reads what is there") {
  const Fixture fixture;
  const auto entry = Directory(fixture.files.path()).open("a.txt");
  CHECK(entry.file.size() == 10);
  CHECK(entry.file.modified() == kModified);
  std::string bytes(20, '-');
  CHECK(entry.file.read(bytes.data(), 4, 2) == 4);
  CHECK(bytes.substr(0, 5) == "2345-");
  CHECK(entry.file.read(bytes.data(), 20, 8) == 2);
  CHECK(entry.file.read(bytes.data(), 20, 10) == 0);
}

TEST_CASE("answer tells all about a file and sends it whole") {
  const Fixture fixture;
  const Response response = fixture.get("a.txt");
  CHECK(response.text ==
        "HTTP/1.1 200 OK\r\nDate: Sun, 06 Nov 1994 09:06:17 GMT\r\n"
        "Content-Type: text/plain; charset=utf-8\r\nContent-Length: 10\r\n"
        "Last-Modified: Sun, 06 Nov 1994 08:49:37 GMT\r\n"
        "Accept-Ranges: bytes\r\n\r\n");
  CHECK(response.file);
  CHECK(response.offset == 0);
  CHECK(response.length == 10);
  CHECK(response.keep_alive);
}

TEST_CASE("answer sends no file for HEAD, nor an empty one") {
  const Fixture fixture;
  fixture.files.write("empty", "");
  Request head = request_for("a.txt");
  head.method = Method::head;
  const Response response = fixture.get(head);
  CHECK(response.text == fixture.get("a.txt").text);
  CHECK_FALSE(response.file);
  CHECK(response.length == 0);
  CHECK_FALSE(fixture.get("empty").file);
}

TEST_CASE("answer says whether the connection stays where it has to") {
  const Fixture fixture;
  Request request = request_for("a.txt");
  CHECK(field(fixture.get(request), "Connection") == "none");
  request.minor_version = 0;
  CHECK(field(fixture.get(request), "Connection") == "keep-alive");
  request.keep_alive = false;
  CHECK(field(fixture.get(request), "Connection") == "close");
  CHECK_FALSE(fixture.get(request).keep_alive);
}

TEST_CASE("answer serves the index of a directory, which ends in a slash") {
  const Fixture fixture;
  std::filesystem::create_directories(fixture.files.path("sub/index.html"));
  std::filesystem::create_directory(fixture.files.path("x y"));
  CHECK(status_of(fixture.get("")) == 404);
  fixture.files.write("index.html", "index");
  CHECK(fixture.get("").length == 5);
  CHECK(field(fixture.get(""), "Content-Type") == "text/html; charset=utf-8");
  CHECK(status_of(fixture.get("sub/")) == 404);
  CHECK(status_of(fixture.get("missing/")) == 404);

  Request request = request_for("x y");
  request.query = "?a=b";
  const Response response = fixture.get(request);
  CHECK(status_of(response) == 301);
  CHECK(field(response, "Location") == "/x%20y/?a=b");
  CHECK_FALSE(response.file);
}

TEST_CASE("answer sends the part of a file that is asked for") {
  const Fixture fixture;
  Request request = request_for("a.txt");
  request.range = "bytes=2-4";
  const Response part = fixture.get(request);
  CHECK(status_of(part) == 206);
  CHECK(field(part, "Content-Length") == "3");
  CHECK(field(part, "Content-Range") == "bytes 2-4/10");
  CHECK(part.offset == 2);
  CHECK(part.length == 3);

  request.range = "bytes=10-";
  const Response none = fixture.get(request);
  CHECK(status_of(none) == 416);
  CHECK(field(none, "Content-Range") == "bytes */10");
  CHECK(none.keep_alive);

  request.range = "bytes=0-1,4-5";
  CHECK(status_of(fixture.get(request)) == 200);
  request.range = "bytes=2-4";
  request.method = Method::head;
  CHECK(status_of(fixture.get(request)) == 200);
}

TEST_CASE("answer gives a part only of the file that If-Range means") {
  const Fixture fixture;
  Request request = request_for("a.txt");
  request.range = "bytes=2-4";
  const auto status = [&](std::string_view if_range, Date now = kNow) {
    request.if_range = if_range;
    return status_of(fixture.get(request, now));
  };
  CHECK(status(kModifiedText) == 206);
  CHECK(status("Sun, 06 Nov 1994 08:49:36 GMT") == 200);
  CHECK(status("Sun, 06 Nov 1994 08:49:38 GMT") == 200);
  CHECK(status("\"tag\"") == 200);
  // It may have changed twice in that second.
  CHECK(status(kModifiedText, kModified) == 200);
  CHECK(status(kModifiedText, kModified + seconds(2)) == 206);
}

TEST_CASE("answer judges the conditions of a request") {
  struct Example {
    std::string_view Request::*field;
    std::string_view value;
    int status;
  };
  const std::string_view earlier = "Sun, 06 Nov 1994 08:49:36 GMT";
  const std::string_view later = "Sun, 06 Nov 1994 08:49:38 GMT";
  const std::vector<Example> examples = {
      {&Request::if_modified_since, kModifiedText, 304},
      {&Request::if_modified_since, later, 304},
      {&Request::if_modified_since, earlier, 200},
      {&Request::if_modified_since, "yesterday", 200},
      {&Request::if_unmodified_since, kModifiedText, 200},
      {&Request::if_unmodified_since, later, 200},
      {&Request::if_unmodified_since, earlier, 412},
      {&Request::if_unmodified_since, "yesterday", 200},
      {&Request::if_match, "*", 200},
      {&Request::if_match, "\"tag\"", 412},
      {&Request::if_none_match, "*", 304},
      {&Request::if_none_match, "\"tag\"", 200},
  };
  const Fixture fixture;
  for (const Example& example : examples) {
    CAPTURE(example.value);
    Request request = request_for("a.txt");
    request.*example.field = example.value;
    CHECK(status_of(fixture.get(request)) == example.status);
  }
}

TEST_CASE("answer lets entity tags go before dates") {
  const Fixture fixture;
  Request request = request_for("a.txt");
  request.if_modified_since = kModifiedText;
  request.if_none_match = "\"tag\"";
  CHECK(status_of(fixture.get(request)) == 200);
  request.if_match = "*";
  request.if_unmodified_since = "Sun, 06 Nov 1994 08:49:36 GMT";
  CHECK(status_of(fixture.get(request)) == 200);
}

TEST_CASE("answer sends no body with 304, but the date") {
  const Fixture fixture;
  Request request = request_for("a.txt");
  request.if_modified_since = kModifiedText;
  const Response response = fixture.get(request);
  CHECK(response.text ==
        "HTTP/1.1 304 Not Modified\r\nDate: Sun, 06 Nov 1994 09:06:17 GMT\r\n"
        "Last-Modified: Sun, 06 Nov 1994 08:49:37 GMT\r\n\r\n");
  CHECK_FALSE(response.file);
}

TEST_CASE("answer never tells of a change in the future, nor of none at all") {
  const Fixture fixture;
  set_modified(fixture.files.path("a.txt"), kNow + seconds(100));
  CHECK(field(fixture.get("a.txt"), "Last-Modified") == format_date(kNow));
  set_modified(fixture.files.path("a.txt"), Date(seconds(-1)));
  CHECK(field(fixture.get("a.txt"), "Last-Modified") ==
        "Thu, 01 Jan 1970 00:00:00 GMT");
}

TEST_CASE("answer explains to a client what is wrong, and closes") {
  const Response response = answer(BadRequest(405, "no"), false, kNow);
  CHECK(response.text ==
        "HTTP/1.1 405 Method Not Allowed\r\n"
        "Date: Sun, 06 Nov 1994 09:06:17 GMT\r\nAllow: GET, HEAD\r\n"
        "Content-Type: text/plain; charset=utf-8\r\nContent-Length: 27\r\n"
        "Connection: close\r\n\r\n405 Method Not Allowed: no\n");
  CHECK_FALSE(response.keep_alive);

  const Response head = answer(BadRequest(400, "no"), true, kNow);
  CHECK(head.text.substr(head.text.size() - 4) == "\r\n\r\n");
  CHECK(field(head, "Content-Length") == "20");
}
