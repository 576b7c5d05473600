#include "waterspout/error.h"

#include <array>
#include <cerrno>
#include <exception>
#include <ostream>
#include <set>
#include <stdexcept>
#include <string>
#include <string_view>
#include <system_error>
#include <type_traits>

#include <doctest/doctest.h>

using waterspout::describe_error;
using waterspout::describe_exception;
using waterspout::escape_bytes;
using waterspout::stream_category;
using waterspout::StreamBufferFullError;
using waterspout::StreamClosedError;
using waterspout::StreamErrc;
using waterspout::TimeoutError;

namespace {

using namespace std::string_view_literals;

constexpr std::array kAllCodes{
    StreamErrc::closed,
    StreamErrc::unsatisfiable_read,
    StreamErrc::read_buffer_full,
    StreamErrc::write_buffer_full,
    StreamErrc::uncaught_exception,
    StreamErrc::regex_limit,
    StreamErrc::loop_closed,
};

std::error_code errno_code(int code) { return {code, std::generic_category()}; }

template <class Thrown>
std::string described(const Thrown& thrown) {
  return describe_exception(std::make_exception_ptr(thrown));
}

}  // namespace

TEST_SUITE_BEGIN("error");

TEST_CASE("stream_category is named waterspout.stream") {
  CHECK(stream_category().name() == "waterspout.stream"sv);
  CHECK(&stream_category() == &stream_category());
}

TEST_CASE("StreamErrc becomes an error code of its category, never zero") {
  for (const StreamErrc errc : kAllCodes) {
    const std::error_code code = errc;
    CHECK(code);
    CHECK(code == errc);
    CHECK(code.category() == stream_category());
  }
  CHECK(std::error_code(StreamErrc::closed) != StreamErrc::loop_closed);
}

TEST_CASE("StreamErrc has a reason of its own for every value") {
  std::set<std::string> reasons;
  for (const StreamErrc errc : kAllCodes) {
    const std::string reason = make_error_code(errc).message();
    CAPTURE(reason);
    CHECK_FALSE(reason.empty());
    CHECK_FALSE(reason.ends_with('.'));
    CHECK(reasons.insert(reason).second);
  }
}

TEST_CASE("stream_category has a text for a number that it does not know") {
  CHECK(stream_category().message(4711).find("4711") != std::string::npos);
}

TEST_CASE("StreamClosedError says operation and object and carries the cause") {
  static_assert(std::is_base_of_v<std::system_error, StreamClosedError>);
  const StreamClosedError error("read_until", "127.0.0.1:80",
                                errno_code(ECONNRESET));
  const std::string what = error.what();

  CHECK(error.code() == StreamErrc::closed);
  CHECK(error.cause() == std::errc::connection_reset);
  CHECK(what.starts_with("read_until: 127.0.0.1:80"));
  CHECK(what.find("Connection reset by peer") != std::string::npos);
}

TEST_CASE("StreamClosedError::cause is no error after an orderly close") {
  const StreamClosedError error("write", "unix:/run/x", {});

  CHECK_FALSE(error.cause());
  CHECK(std::string_view(error.what()).starts_with("write: unix:/run/x: "));
}

TEST_CASE("StreamBufferFullError is a system error of write_buffer_full") {
  const StreamBufferFullError error("write", "127.0.0.1:80");

  CHECK(error.code() == StreamErrc::write_buffer_full);
  CHECK(std::string_view(error.what()).starts_with("write: 127.0.0.1:80: "));
}

TEST_CASE("TimeoutError is a runtime error") {
  static_assert(std::is_base_of_v<std::runtime_error, TimeoutError>);
  CHECK(TimeoutError("run_sync: 5 s").what() == "run_sync: 5 s"sv);
}

TEST_CASE("describe_error reads operation: object: reason") {
  CHECK(describe_error("connect", "127.0.0.1:9", errno_code(ECONNREFUSED)) ==
        "connect: 127.0.0.1:9: Connection refused");
  CHECK(describe_error("read_until", "fd 7", StreamErrc::unsatisfiable_read) ==
        "read_until: fd 7: " +
            make_error_code(StreamErrc::unsatisfiable_read).message());
}

TEST_CASE("describe_exception names the type and quotes what it says") {
  CHECK(described(std::out_of_range("map::at")) ==
        "std::out_of_range: map::at");
  CHECK(described(TimeoutError("late")) == "waterspout::TimeoutError: late");
}

TEST_CASE("describe_exception names the type of what is no std::exception") {
  CHECK(described(7) == "exception of type int");
  CHECK(described(StreamErrc::closed) ==
        "exception of type waterspout::StreamErrc");
}

TEST_CASE("describe_exception says nothing about a null pointer") {
  CHECK(describe_exception(nullptr).empty());
}

TEST_CASE("describe_exception does not become the current exception") {
  try {
    throw std::out_of_range("outer");
  } catch (...) {
    CHECK(described(std::logic_error("inner")) == "std::logic_error: inner");
    CHECK(describe_exception(std::current_exception()) ==
          "std::out_of_range: outer");
  }
  CHECK_FALSE(std::current_exception());
}

TEST_CASE("escape_bytes leaves printable text as it is") {
  CHECK(escape_bytes("") == "");
  CHECK(escape_bytes("GET / HTTP/1.0 ~") == "GET / HTTP/1.0 ~");
}

TEST_CASE("escape_bytes writes control bytes and the backslash as C escapes") {
  CHECK(escape_bytes("a\r\n\tb") == R"(a\r\n\tb)");
  CHECK(escape_bytes(R"(\n)") == R"(\\n)");
  CHECK(escape_bytes("\x7f\xff\x80\x1b\0"sv) == R"(\x7f\xff\x80\x1b\x00)");
}

TEST_CASE("escape_bytes gives printable ASCII for every byte") {
  for (int byte = 0; byte < 256; ++byte) {
    const char one = static_cast<char>(byte);
    for (const char shown : escape_bytes({&one, 1})) {
      CAPTURE(byte);
      CHECK(shown >= ' ');
      CHECK(shown <= '~');
    }
  }
}

TEST_CASE("escape_bytes cuts after max_bytes bytes of input") {
  const std::string text(40, 'x');
  const std::string newlines(5, '\n');

  CHECK(escape_bytes(text.substr(0, 32)) == text.substr(0, 32));
  CHECK(escape_bytes(text) == text.substr(0, 32) + "...");
  CHECK(escape_bytes(newlines, 2) == R"(\n\n...)");
  CHECK(escape_bytes(newlines, 5) == R"(\n\n\n\n\n)");
  CHECK(escape_bytes("x", 0) == "...");
  CHECK(escape_bytes("", 0) == "");
}

TEST_SUITE_END();
