// What TLS costs: the echo of messages of several sizes, client and server in
// one process, beside the same by hand and the same without TLS.
//
//   tls_record_cost [PART OF A WORK'S NAME]

#include <cstddef>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "waterspout/ioloop.h"
#include "waterspout/iostream.h"
#include "waterspout/testing.h"

#include "measure.h"
#include "openssl_echo.h"

namespace {

using micro::Work;
using waterspout::IOLoop;
using waterspout::IOStream;

/// A client and a server on one loop.
class Echo {
 public:
  Echo(std::size_t message_size, bool tls) : message_(message_size, 'x') {
    if (tls) {
      const auto pair = waterspout::testing::make_ssl_stream_pair(loop_);
      client_ = pair.client;
      server_ = pair.server;
    } else {
      const auto pair = waterspout::testing::make_stream_pair(loop_);
      client_ = pair.client;
      server_ = pair.server;
    }
    client_->set_nodelay(true);
    server_->set_nodelay(true);
    serve();
  }

  /// Sends a message there and back, so many times.
  void run(std::size_t messages) {
    left_ = messages;
    ask();
    loop_.start();
  }

 private:
  void serve() {
    server_->read_bytes(message_.size(), [this](std::string_view message) {
      server_->write(message, [this] { serve(); });
    });
  }

  void ask() {
    client_->write(message_);
    client_->read_bytes(message_.size(), [this](std::string_view) {
      if (--left_ == 0) {
        loop_.stop();
      } else {
        ask();
      }
    });
  }

  const std::string message_;
  IOLoop loop_;
  std::shared_ptr<IOStream> client_;
  std::shared_ptr<IOStream> server_;
  std::size_t left_ = 0;
};

template <class AnyEcho>
double round_of(AnyEcho& echo, std::size_t messages) {
  echo.run(messages / 10);  // to the steady state
  return micro::nanoseconds_each(messages, [&] { echo.run(messages); });
}

struct Size {
  const char* name;
  std::size_t bytes;
  std::size_t messages;
};

constexpr Size kSizes[] = {{"echo 64 B", 64, 5000},
                           {"echo 1 KiB", 1024, 5000},
                           {"echo 16 KiB", 16384, 2000},
                           {"echo 64 KiB", 65536, 500}};

void add_works(std::vector<Work>& works, const Size& size) {
  const auto add = [&](std::string_view library, auto round) {
    works.push_back({.name = size.name,
                     .library = library,
                     .round = round,
                     .bytes = size.bytes});
  };
  add("waterspout, TLS", [size] {
    Echo echo(size.bytes, true);
    return round_of(echo, size.messages);
  });
  add("OpenSSL and epoll", [size] {
    micro::OpensslEcho echo(size.bytes);
    return round_of(echo, size.messages);
  });
  add("waterspout, no TLS", [size] {
    Echo echo(size.bytes, false);
    return round_of(echo, size.messages);
  });
}

}  // namespace

int main(int argc, char** argv) {
  std::vector<Work> works;
  for (const Size& size : kSizes) {
    add_works(works, size);
  }
  return micro::run_main(works, argc, argv);
}
