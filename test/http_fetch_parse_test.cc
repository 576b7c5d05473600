// What http_fetch makes of text: URLs, heads, chunk sizes, the command line.

#include <chrono>
#include <cstdint>
#include <limits>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include <doctest/doctest.h>

#include "http_fetch/http_head.h"
#include "http_fetch/options.h"
#include "http_fetch/progress.h"
#include "http_fetch/url.h"

using http_fetch::add_line;
using http_fetch::Framing;
using http_fetch::framing_of;
using http_fetch::Method;
using http_fetch::Options;
using http_fetch::parse_chunk_size;
using http_fetch::parse_options;
using http_fetch::parse_url;
using http_fetch::request_head;
using http_fetch::resolve_reference;
using http_fetch::ResponseHead;
using http_fetch::Url;
using http_fetch::UsageError;

namespace {

// What `function` throws, as text; "" if it does not.
template <class Function>
std::string failure_of(Function function) {
  try {
    static_cast<void>(function());
  } catch (const std::runtime_error& error) {
    return error.what();
  }
  return "";
}

ResponseHead parse_head(std::string_view text) {
  ResponseHead head;
  bool complete = false;
  while (!text.empty()) {
    const std::string_view line = text.substr(0, text.find('\n') + 1);
    complete = add_line(head, line);
    text.remove_prefix(line.size());
  }
  CHECK(complete);
  return head;
}

Framing framing_of_get(std::string_view fields, int status = 200) {
  return framing_of(parse_head("HTTP/1.1 " + std::to_string(status) + " x\r\n" +
                               std::string(fields) + "\r\n"),
                    Method::get);
}

Options parse(std::vector<std::string> words) {
  words.insert(words.begin(), "http_fetch");
  std::vector<char*> argv;
  argv.reserve(words.size() + 1);
  for (std::string& word : words) {
    argv.push_back(word.data());
  }
  argv.push_back(nullptr);
  return parse_options(static_cast<int>(words.size()), argv.data());
}

}  // namespace

TEST_SUITE_BEGIN("http_fetch_parse");

TEST_CASE("parse_url takes a URL apart") {
  struct Example {
    std::string text;
    std::string host;
    int port;
    std::string target;
  };
  const std::vector<Example> examples = {
      {"http://a", "a", 80, "/"},
      {"http://a/", "a", 80, "/"},
      {"http://a?q=1", "a", 80, "/?q=1"},
      {"http://a#part", "a", 80, "/"},
      {"http://a/b?c=/d?e#f", "a", 80, "/b?c=/d?e"},
      {"HTTP://Example.ORG:8080/Path", "example.org", 8080, "/Path"},
      {"http://a:/", "a", 80, "/"},
      {"http://127.0.0.1:65535/", "127.0.0.1", 65535, "/"},
      {"http://[::1]/", "::1", 80, "/"},
      {"http://[2001:db8::1]:81/x", "2001:db8::1", 81, "/x"},
      {"http://[fe80::1%25lo]/", "fe80::1%lo", 80, "/"},
      {"http://a/%0d%0a", "a", 80, "/%0d%0a"},
      {"http://a/b:c@d", "a", 80, "/b:c@d"},
      {"https://a", "a", 443, "/"},
      {"HTTPS://a:80/b", "a", 80, "/b"},
      {"https://[::1]/", "::1", 443, "/"},
      {"http://a:443/", "a", 443, "/"},
  };
  for (const Example& example : examples) {
    CAPTURE(example.text);
    const Url url = parse_url(example.text);
    CHECK(url.secure == (example.text[4] == 's' || example.text[4] == 'S'));
    CHECK(url.host == example.host);
    CHECK(url.port == example.port);
    CHECK(url.target == example.target);
  }
}

TEST_CASE("parse_url refuses what is no http or https URL, and says why") {
  struct Example {
    std::string text;
    std::string reason;
  };
  const std::vector<Example> examples = {
      {"", "does not begin with http:// or https://"},
      {"example.org/", "does not begin with http:// or https://"},
      {"localhost:80/", "does not begin with http:// or https://"},
      {"http:/a", "does not begin with http:// or https://"},
      {"https:a", "does not begin with http:// or https://"},
      {"ftp://a/", "scheme 'ftp' is not supported, only http and https"},
      {"httpss://a/", "scheme 'httpss' is not supported"},
      {"https://", "'' is no host name"},
      {"http://", "'' is no host name"},
      {"http://:80/", "'' is no host name"},
      {"http://a b/", "a space"},
      {"http://a/\r\nHost: b", "a control character"},
      {std::string("http://a/\0", 10), "a control character"},
      {"http://a/\x7f", "a control character"},
      {"http://\xc3\xa4/", "beyond ASCII"},
      {"http://user:word@a/", "a user name"},
      {"http://a\\@b/", "a user name"},
      {"http://a%2eb/", "'a%2eb' is no host name"},
      {"http://" + std::string(255, 'a') + "/", "is no host name"},
      {"http://a:0/", "'0' is no port"},
      {"http://a:65536/", "'65536' is no port"},
      {"http://a:-1/", "'-1' is no port"},
      {"http://a:8x/", "'8x' is no port"},
      {"http://::1/", "goes into brackets"},
      {"http://[::1/", "a '[' without its ']'"},
      {"http://[::1]x/", "'x' behind the ']'"},
      {"http://[]/", "is no IPv6 address"},
      {"http://[a]/", "is no IPv6 address"},
      {"http://[127.0.0.1]/", "is no IPv6 address"},
  };
  for (const Example& example : examples) {
    CAPTURE(example.text);
    const std::string reason =
        failure_of([&] { return parse_url(example.text); });
    CAPTURE(reason);
    CHECK(reason.find(example.reason) != std::string::npos);
  }
}

TEST_CASE("Url::authority names the port unless it is the scheme's own") {
  CHECK(parse_url("http://a:80/").authority() == "a");
  CHECK(parse_url("http://a:81/").authority() == "a:81");
  CHECK(parse_url("http://a:443/").authority() == "a:443");
  CHECK(parse_url("https://a:443/").authority() == "a");
  CHECK(parse_url("https://a:80/").authority() == "a:80");
  CHECK(parse_url("http://[::1]/").authority() == "[::1]");
  CHECK(parse_url("http://[fe80::1%25lo]:81/").authority() == "[fe80::1]:81");
}

TEST_CASE("Url::to_string gives the URL again") {
  for (const std::string text :
       {"http://a/b?c", "https://a/", "https://[::1]:80/", "http://a:443/"}) {
    CHECK(parse_url(text).to_string() == text);
  }
}

TEST_CASE("Url::same_origin compares scheme, host and port") {
  const Url url = parse_url("https://a/b");
  CHECK(url.same_origin(parse_url("https://A:443/c?d")));
  CHECK_FALSE(url.same_origin(parse_url("https://b/b")));
  CHECK_FALSE(url.same_origin(parse_url("https://a:444/b")));
  CHECK_FALSE(url.same_origin(parse_url("http://a/b")));
  CHECK_FALSE(url.same_origin(parse_url("http://a:443/b")));
}

TEST_CASE("resolve_reference keeps the scheme where none is named") {
  const Url base = parse_url("https://a:444/b");
  auto resolved = [&](std::string_view reference) {
    return resolve_reference(base, reference).to_string();
  };
  CHECK(resolved("c") == "https://a:444/c");
  CHECK(resolved("/c") == "https://a:444/c");
  CHECK(resolved("//d/c") == "https://d/c");
  CHECK(resolved("http://d/c") == "http://d/c");
  CHECK(resolve_reference(parse_url("http://a/"), "https://d/c").to_string() ==
        "https://d/c");
}

TEST_CASE("resolve_reference agrees with the examples of RFC 3986, 5.4") {
  struct Example {
    std::string reference;
    std::string target;
  };
  const Url base = parse_url("http://a/b/c/d;p?q");
  const std::vector<Example> examples = {
      {"g", "http://a/b/c/g"},
      {"./g", "http://a/b/c/g"},
      {"g/", "http://a/b/c/g/"},
      {"/g", "http://a/g"},
      {"//g", "http://g/"},
      {"?y", "http://a/b/c/d;p?y"},
      {"g?y", "http://a/b/c/g?y"},
      {"#s", "http://a/b/c/d;p?q"},
      {"g#s", "http://a/b/c/g"},
      {"g?y#s", "http://a/b/c/g?y"},
      {";x", "http://a/b/c/;x"},
      {"", "http://a/b/c/d;p?q"},
      {".", "http://a/b/c/"},
      {"./", "http://a/b/c/"},
      {"..", "http://a/b/"},
      {"../", "http://a/b/"},
      {"../g", "http://a/b/g"},
      {"../..", "http://a/"},
      {"../../g", "http://a/g"},
      {"../../../g", "http://a/g"},
      {"/./g", "http://a/g"},
      {"/../g", "http://a/g"},
      {"g.", "http://a/b/c/g."},
      {"..g", "http://a/b/c/..g"},
      {"./../g", "http://a/b/g"},
      {"./g/.", "http://a/b/c/g/"},
      {"g/../h", "http://a/b/c/h"},
      {"g;x=1/../y", "http://a/b/c/y"},
      {"g?y/../x", "http://a/b/c/g?y/../x"},
      {"http://h:81/../x", "http://h:81/x"},
  };
  for (const Example& example : examples) {
    CAPTURE(example.reference);
    CHECK(resolve_reference(base, example.reference).to_string() ==
          example.target);
  }
}

TEST_CASE("resolve_reference refuses what parse_url refuses") {
  const Url base = parse_url("http://a/");
  CHECK_THROWS_AS(static_cast<void>(resolve_reference(base, "ftp://b/")),
                  std::runtime_error);
  CHECK_THROWS_AS(static_cast<void>(resolve_reference(base, "/x y")),
                  std::runtime_error);
  CHECK_THROWS_AS(static_cast<void>(resolve_reference(base, "//u@b/")),
                  std::runtime_error);
}

TEST_CASE("add_line reads a head whose lines end in CRLF or in LF") {
  const std::string_view ends[] = {"\r\n", "\n"};
  for (const std::string_view end : ends) {
    std::string text;
    for (const std::string_view line :
         {"HTTP/1.1 404 Not Found", "A: 1", "b:\t two words \t", "a: 3", ""}) {
      text.append(line).append(end);
    }
    const ResponseHead head = parse_head(text);
    CHECK(head.status == 404);
    CHECK(head.status_text() == "404 Not Found");
    CHECK(head.text == text);
    CHECK(head.values("A") == std::vector<std::string_view>{"1", "3"});
    CHECK(head.values("B") == std::vector<std::string_view>{"two words"});
    CHECK(head.values("c").empty());
  }
}

TEST_CASE("add_line takes a status line without a reason") {
  CHECK(parse_head("HTTP/1.0 200\r\n\r\n").status == 200);
  CHECK(parse_head("HTTP/1.0 200 \r\n\r\n").status == 200);
}

TEST_CASE("add_line tells what is not http by the first line") {
  const std::vector<std::string> lines = {
      "\r\n",
      "HTTP/2 200\r\n",
      "HTTP/1.1 20 OK\r\n",
      "HTTP/1.1 2000 OK\r\n",
      "HTTP/1.1 099 OK\r\n",
      "HTTP/1.1  200 OK\r\n",
      "HTTP/1.1 -12 OK\r\n",
      "HTTP/1.x 200 OK\r\n",
      "http/1.1 200 OK\r\n",
      "ICY 200 OK\r\n",
      " HTTP/1.1 200 OK\r\n",
      "HTTP/1.1 200 O\x1bK\r\n",
      "SSH-2.0-OpenSSH_9.2\r\n",
      std::string("\x15\x03\x01\0\n", 5),
  };
  for (const std::string& line : lines) {
    CAPTURE(line);
    ResponseHead head;
    const std::string reason = failure_of([&] { return add_line(head, line); });
    CHECK(reason.substr(0, 8) == "not http");
  }
}

TEST_CASE("add_line refuses a malformed header line, and says why") {
  struct Example {
    std::string line;
    std::string reason;
  };
  const std::vector<Example> examples = {
      {"no colon\r\n", "no ':' in the header line 'no colon'"},
      {": empty\r\n", "'' is no header name"},
      {"Two Words: x\r\n", "'Two Words' is no header name"},
      {"Before : x\r\n", "'Before ' is no header name"},
      {" folded\r\n", "begins with a blank"},
      {"\tfolded: x\r\n", "begins with a blank"},
      {std::string("A: \0\r\n", 6), "a control character in the value of 'A'"},
      {"A: x\ry\r\n", "a control character in the value of 'A'"},
      {"A: x\x1b[31m\r\n", "a control character in the value of 'A'"},
  };
  for (const Example& example : examples) {
    CAPTURE(example.line);
    ResponseHead head;
    static_cast<void>(add_line(head, "HTTP/1.0 200 OK\r\n"));
    const std::string reason =
        failure_of([&] { return add_line(head, example.line); });
    CAPTURE(reason);
    CHECK(reason.substr(0, 20) == "malformed response: ");
    CHECK(reason.find(example.reason) != std::string::npos);
  }
}

TEST_CASE("framing_of finds the body's end as RFC 9112 has it") {
  CHECK(framing_of_get("").kind == Framing::Kind::until_close);
  CHECK(framing_of_get("Content-Length: 7\r\n").length == 7);
  CHECK(
      framing_of_get("content-length: 7\r\nContent-Length: 7, 7\r\n").length ==
      7);
  CHECK(framing_of_get("Content-Length: 9223372036854775807\r\n").length ==
        std::numeric_limits<std::int64_t>::max());
  CHECK(framing_of_get("Transfer-Encoding: Chunked\r\n").kind ==
        Framing::Kind::chunked);
  for (const int status : {204, 304}) {
    const Framing framing = framing_of_get("Content-Length: 7\r\n", status);
    CHECK(framing.kind == Framing::Kind::length);
    CHECK(framing.length == 0);
  }
  const ResponseHead head =
      parse_head("HTTP/1.0 200 OK\r\nContent-Length: 7\r\n\r\n");
  CHECK(framing_of(head, Method::head).length == 0);
}

TEST_CASE("framing_of refuses lengths that cannot be believed") {
  const std::vector<std::string> fields = {
      "Content-Length: -1\r\n",
      "Content-Length: +1\r\n",
      "Content-Length: \r\n",
      "Content-Length: 1 2\r\n",
      "Content-Length: 0x10\r\n",
      "Content-Length: 1,\r\n",
      "Content-Length: 9223372036854775808\r\n",
      "Content-Length: 18446744073709551617\r\n",
      "Content-Length: 99999999999999999999999999\r\n",
      "Content-Length: 5\r\nContent-Length: 6\r\n",
      "Content-Length: 5, 6\r\n",
      "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
      "Transfer-Encoding: gzip\r\n",
      "Transfer-Encoding: gzip, chunked\r\n",
      "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
      "Transfer-Encoding: \r\n",
  };
  for (const std::string& field : fields) {
    CAPTURE(field);
    CHECK_THROWS_AS(static_cast<void>(framing_of_get(field)),
                    std::runtime_error);
  }
}

TEST_CASE("parse_chunk_size reads hexadecimal, and nothing else") {
  CHECK(parse_chunk_size("0\r\n") == 0);
  CHECK(parse_chunk_size("fF\r\n") == 255);
  CHECK(parse_chunk_size("00010  \r\n") == 16);
  CHECK(parse_chunk_size("a;name=value\r\n") == 10);
  CHECK(parse_chunk_size("7fffffffffffffff\r\n") ==
        std::numeric_limits<std::int64_t>::max());
  for (const std::string line :
       {"\r\n", "x\r\n", "-1\r\n", "+1\r\n", "0x1\r\n", " 1\r\n", "1 2\r\n",
        ";a\r\n", "1\n2\r\n", "8000000000000000\r\n",
        "10000000000000000\r\n"}) {
    CAPTURE(line);
    CHECK_THROWS_AS(static_cast<void>(parse_chunk_size(line)),
                    std::runtime_error);
  }
}

TEST_CASE("request_head writes a request of HTTP/1.0") {
  const Url url = parse_url("http://a:81/b?c");
  CHECK(request_head(Method::get, url, {}) ==
        "GET /b?c HTTP/1.0\r\nHost: a:81\r\nUser-Agent: http_fetch\r\n"
        "Accept: */*\r\nConnection: close\r\n\r\n");
  CHECK(request_head(Method::head, url, {{"host", "x"}, {"Y", "z"}}) ==
        "HEAD /b?c HTTP/1.0\r\nUser-Agent: http_fetch\r\nAccept: */*\r\n"
        "Connection: close\r\nhost: x\r\nY: z\r\n\r\n");
}

TEST_CASE("parse_options knows every option") {
  const Options options =
      parse({"-iv", "-fL", "-o", "file", "-H", "A:b", "--timeout", "1.5",
             "--max-size=9", "http://a/", "-H", "C: d", "--cacert", "ca",
             "--cert=mine", "--key", "secret"});
  CHECK(options.include_head);
  CHECK(options.verbose);
  CHECK(options.fail_on_status);
  CHECK(options.follow_redirects);
  CHECK(options.method == Method::get);
  CHECK(options.output_file == "file");
  REQUIRE(options.headers.size() == 2);
  CHECK(options.headers[0].value == "b");
  CHECK(options.headers[1].name == "C");
  CHECK(options.timeout == std::chrono::milliseconds(1500));
  CHECK(options.max_size == std::optional<std::uint64_t>(9));
  CHECK(options.urls == std::vector<std::string>{"http://a/"});
  CHECK(options.ca_file == "ca");
  CHECK(options.certificate_file == "mine");
  CHECK(options.key_file == "secret");
  CHECK_FALSE(options.insecure);
  CHECK(parse({"--insecure", "https://a/"}).insecure);
}

TEST_CASE("parse_options has defaults") {
  const Options options = parse({"http://a/", "http://b/"});
  CHECK_FALSE(options.include_head);
  CHECK(options.output_file.empty());
  CHECK(options.timeout == std::chrono::seconds(30));
  CHECK_FALSE(options.max_size);
  CHECK(options.ca_file.empty());
  CHECK_FALSE(options.insecure);
  CHECK(options.certificate_file.empty());
  CHECK(options.urls.size() == 2);
}

TEST_CASE("parse_options refuses what it does not understand, and says why") {
  struct Example {
    std::vector<std::string> words;
    std::string reason;
  };
  const std::vector<Example> examples = {
      {{}, "no URL"},
      {{"-q", "u"}, "-q: no such option"},
      {{"--nothing", "u"}, "--nothing: no such option"},
      {{"u", "-o"}, "-o: its argument is missing"},
      {{"u", "--timeout"}, "--timeout: its argument is missing"},
      {{"-o", "", "u"}, "-o: an empty file name"},
      {{"--cacert", "", "u"}, "--cacert: an empty file name"},
      {{"--key", "k", "u"}, "--key: needs a --cert"},
      {{"--cacert", "c", "--insecure", "u"},
       "--cacert: of no use with --insecure"},
      {{"-o", "f", "u", "v"}, "-o takes one body, and there are 2 URLs"},
      {{"--timeout", "0", "u"}, "'0' is no number of seconds"},
      {{"--timeout", "-1", "u"}, "'-1' is no number of seconds"},
      {{"--timeout", "nan", "u"}, "'nan' is no number of seconds"},
      {{"--timeout", "1e300", "u"}, "'1e300' is no number of seconds"},
      {{"--timeout", "5s", "u"}, "'5s' is no number of seconds"},
      {{"--max-size", "-1", "u"}, "'-1' is no number of bytes"},
      {{"--max-size", "1k", "u"}, "'1k' is no number of bytes"},
      {{"-H", "no colon", "u"}, "-H: no ':'"},
      {{"-H", "a b: c", "u"}, "-H: 'a b' is no header name"},
      {{"-H", "a: b\r\nc: d", "u"}, "-H: a control character"},
      {{"-H", "Content-Length: 1", "u"}, "announces a body"},
  };
  for (const Example& example : examples) {
    CAPTURE(example.reason);
    std::string reason;
    try {
      static_cast<void>(parse(example.words));
    } catch (const UsageError& error) {
      reason = error.what();
    }
    CAPTURE(reason);
    CHECK(reason.find(example.reason) != std::string::npos);
  }
}

TEST_CASE("progress_bar shows as much as is known") {
  constexpr std::uint64_t kMebibyte = 1 << 20;
  CHECK(http_fetch::progress_bar({32 * kMebibyte, 64 * kMebibyte}) ==
        "[###############               ]  50%  32.0 of 64.0 MiB");
  CHECK(http_fetch::progress_bar({64 * kMebibyte, 64 * kMebibyte}) ==
        "[##############################] 100%  64.0 of 64.0 MiB");
  CHECK(http_fetch::progress_bar({kMebibyte * 3 / 2, std::nullopt}) ==
        "1.5 MiB");
  CHECK(http_fetch::progress_bar({0, 0}) == "0.0 MiB");
}

TEST_SUITE_END();
