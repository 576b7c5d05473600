// The web servers that this machine has anyway, started for one test each on a
// port of their own. None outlives a test program by more than a minute, even
// one that crashes.

#pragma once

#include <string>
#include <string_view>

#include "support/program.h"
#include "support/sockets.h"
#include "support/temp_dir.h"

namespace waterspout::test {

/// `python3 -m http.server` over a directory.
class PythonServer {
 public:
  explicit PythonServer(const std::string& directory,
                        const std::string& address = "127.0.0.1");
  ~PythonServer();

  [[nodiscard]] std::string url(std::string_view path) const;

 private:
  Program program_;
  std::string base_;  // "http://127.0.0.1:40001"
};

/// test/tools/tornado_server.py.
class TornadoServer {
 public:
  TornadoServer();
  ~TornadoServer();

  [[nodiscard]] std::string url(std::string_view path) const;

 private:
  Program program_;
  std::string base_;
};

/// nginx over a directory, with keep-alive. "/old" redirects to "/new",
/// "/list/" lists the directory, which gives a body of no stated length.
class NginxServer {
 public:
  explicit NginxServer(const std::string& directory);
  ~NginxServer();

  [[nodiscard]] std::string url(std::string_view path) const;

 private:
  [[nodiscard]] std::string write_configuration(
      const std::string& directory) const;

  TempDir own_files_;
  std::uint16_t port_ = 0;
  UniquePeerFd listener_;
  Program program_;
};

}  // namespace waterspout::test
