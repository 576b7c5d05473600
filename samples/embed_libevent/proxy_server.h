// The HTTP server of the application, on evhttp as it was before waterspout
// came in. Where the two meet is a request to /proxy: evhttp hands it over, a
// waterspout stream gets the answer, and evhttp sends it.

#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>

#include "waterspout/ioloop.h"

#include "embed_libevent/owners.h"
#include "embed_libevent/upstream_fetch.h"

namespace embed_libevent {

/// Serves / with a page of its own and /proxy?path=/x with what the upstream
/// has at /x. Destroying it drops the requests that are under way.
///
/// Belongs to the thread that dispatches the base.
class ProxyServer {
 public:
  struct Options {
    std::uint16_t port = 0;  ///< 0: one that is free
    Upstream upstream;
    waterspout::Duration time_limit;  ///< for one fetch
  };

  struct Counters {
    std::size_t proxied = 0;    ///< answers of the upstream
    std::size_t failed = 0;     ///< our own 502 and 504 instead
    std::size_t abandoned = 0;  ///< clients that went away before
  };

  /// Listens on 127.0.0.1. `base` and `loop`, which stands on it, outlive the
  /// server. Errors: throws std::runtime_error if it cannot listen.
  ProxyServer(event_base* base, waterspout::IOLoop& loop, Options options);
  ~ProxyServer();

  ProxyServer(const ProxyServer&) = delete;
  ProxyServer& operator=(const ProxyServer&) = delete;

  [[nodiscard]] std::uint16_t port() const noexcept { return port_; }
  [[nodiscard]] const Counters& counters() const noexcept { return counters_; }
  [[nodiscard]] std::size_t under_way() const noexcept {
    return requests_.size();
  }

  /// `function` is called whenever a request to /proxy is over.
  void set_over_callback(std::function<void()> function) {
    over_callback_ = std::move(function);
  }

 private:
  class Request;

  static void on_page(evhttp_request* request, void* self) noexcept;
  static void on_proxy(evhttp_request* request, void* self) noexcept;
  void proxy(evhttp_request* request);
  void remove(const Request* request) noexcept;

  waterspout::IOLoop& loop_;
  const Options options_;
  HttpServer http_;  // going, frees its connections and their requests
  std::uint16_t port_ = 0;
  Counters counters_;
  std::function<void()> over_callback_;
  // Last, so that it goes first: no fetch answers a request that evhttp has
  // freed.
  std::map<const Request*, std::unique_ptr<Request>> requests_;
};

}  // namespace embed_libevent
