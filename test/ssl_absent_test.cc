// The library without the feature `tls`: its headers stand, and whoever makes
// anything of it is told why not.

#include <functional>
#include <stdexcept>
#include <string>

#include <doctest/doctest.h>

#include "waterspout/ssl.h"
#include "waterspout/ssl_iostream.h"

using waterspout::SSLContext;

TEST_SUITE_BEGIN("ssl_absent");

TEST_CASE("without the feature tls no context can be made") {
  const std::function<SSLContext()> makers[] = {
      [] { return SSLContext::client(); },
      [] { return SSLContext::client({}); },
      [] { return SSLContext::server({}); },
      [] { return SSLContext::adopt(nullptr, SSLContext::Role::client); },
  };
  for (const auto& make : makers) {
    std::string what;
    try {
      const SSLContext context = make();
    } catch (const std::logic_error& error) {
      what = error.what();
    }
    CHECK(what == "SSLContext: built without TLS");
  }
}

TEST_CASE("without the feature tls its errors can still be named") {
  CHECK(std::error_code(waterspout::SSLErrc::truncated).message() ==
        "the stream ended without TLS's end");
}

TEST_SUITE_END();
