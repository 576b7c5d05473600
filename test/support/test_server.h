// A TCPServer whose streams a test handles.

#pragma once

#include <cstddef>
#include <functional>
#include <memory>
#include <utility>
#include <vector>

#include "waterspout/address.h"
#include "waterspout/iostream.h"
#include "waterspout/tcpserver.h"

#include "support/loop_fixture.h"
#include "support/sockets.h"

namespace waterspout::test {

/// Does with every stream what the test says, and keeps it.
class TestServer : public TCPServer {
 public:
  using TCPServer::TCPServer;

  std::function<void(std::shared_ptr<IOStream>, const Address&)> on_stream =
      [this](const std::shared_ptr<IOStream>& stream, const Address&) {
        streams.push_back(stream);
      };
  std::function<void(IOStream&)> on_drain = [](IOStream&) {};
  std::vector<std::shared_ptr<IOStream>> streams;

  [[nodiscard]] Address address() const { return addresses().at(0); }

 protected:
  void handle_stream(std::shared_ptr<IOStream> stream,
                     const Address& address) override {
    on_stream(std::move(stream), address);
  }
  void handle_drain(IOStream& stream) override { on_drain(stream); }
};

/// A server on a loop of its own, which listens on 127.0.0.1.
struct Serving {
  explicit Serving(TCPServer::Options options = {}) : server(loop, options) {
    server.listen(0, "127.0.0.1");
  }

  UniquePeerFd connect() { return connect_to(server.address()); }

  /// Until so many streams have been handled.
  bool accept(std::size_t count = 1) {
    return loop.run_until([&] { return server.streams.size() >= count; });
  }

  LoopFixture loop;
  TestServer server;
};

}  // namespace waterspout::test
