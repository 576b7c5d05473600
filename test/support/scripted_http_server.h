// An HTTP server that says what a test tells it to say, right or wrong. It is
// made of plain blocking sockets and threads, so that no bug of ours can hide
// behind the same bug on the other side.

#pragma once

#include <condition_variable>
#include <cstdint>
#include <map>
#include <mutex>
#include <set>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "support/sockets.h"

namespace waterspout::test {

struct ScriptedAnswer {
  /// What happens when everything is said.
  enum class End {
    close,  ///< an orderly end
    reset,  ///< TCP's RST
    hold,   ///< nothing, until the client closes
  };

  std::string bytes;
  End end = End::close;
  /// A path: this answer waits until the one to that path has ended.
  std::string after = {};
  /// Sends every byte in a packet of its own.
  bool bytewise = false;
};

/// Listens on a free port of 127.0.0.1; answers every connection in a thread of
/// its own. What waits for a client gives up after five seconds.
class ScriptedHttpServer {
 public:
  using Answers = std::map<std::string, ScriptedAnswer>;  // by path

  explicit ScriptedHttpServer(Answers answers);
  /// The same answer to every path.
  explicit ScriptedHttpServer(ScriptedAnswer answer)
      : ScriptedHttpServer(Answers{{"", std::move(answer)}}) {}
  explicit ScriptedHttpServer(std::string bytes)
      : ScriptedHttpServer(ScriptedAnswer{std::move(bytes)}) {}
  ~ScriptedHttpServer();

  ScriptedHttpServer(const ScriptedHttpServer&) = delete;
  ScriptedHttpServer& operator=(const ScriptedHttpServer&) = delete;

  [[nodiscard]] std::uint16_t port() const { return port_; }
  [[nodiscard]] std::string url(std::string_view path = "/") const;

  /// Replaces an answer, also while the server runs.
  void set_answer(const std::string& path, ScriptedAnswer answer);

  /// The heads that have come so far.
  [[nodiscard]] std::vector<std::string> requests();

 private:
  void accept_all();
  void serve(UniquePeerFd peer);
  ScriptedAnswer take_request(const std::string& head);
  void wait_for_end_of(const std::string& path);
  void note_end_of(const std::string& head);

  std::uint16_t port_ = 0;
  const UniquePeerFd listener_;
  std::mutex mutex_;
  Answers answers_;  // protected by mutex_, as the next two
  std::vector<std::string> requests_;
  std::set<std::string> ended_;  // paths
  std::condition_variable ended_changed_;
  std::vector<std::thread> connections_;  // the acceptor's until it has ended
  std::thread acceptor_;                  // Last: it uses everything above.
};

}  // namespace waterspout::test
