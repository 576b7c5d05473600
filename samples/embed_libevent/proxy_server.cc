#include "embed_libevent/proxy_server.h"

#include <algorithm>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>

#include <event2/keyvalq_struct.h>

namespace embed_libevent {

namespace {

constexpr std::size_t kLargestRequest = 16384;  // bytes, of head as of body

constexpr std::string_view kPage =
    "This page is evhttp's.\n"
    "/proxy?path=/x is fetched from the upstream by waterspout.\n";

void send_text(evhttp_request* request, int status, std::string_view type,
               std::string_view text) {
  if (!type.empty()) {
    evhttp_add_header(evhttp_request_get_output_headers(request),
                      "Content-Type", std::string(type).c_str());
  }
  const Buffer body(not_null(evbuffer_new()));
  evbuffer_add(body.get(), text.data(), text.size());
  evhttp_send_reply(request, status, nullptr, body.get());
}

// The decoded value of `path` in the request's query.
std::optional<std::string> path_of(const evhttp_request* request) {
  const evhttp_uri* const uri = evhttp_request_get_evhttp_uri(request);
  const char* const query = evhttp_uri_get_query(uri);
  evkeyvalq fields{};
  if (query == nullptr || evhttp_parse_query_str(query, &fields) != 0) {
    return std::nullopt;
  }
  const char* const value = evhttp_find_header(&fields, "path");
  std::optional<std::string> path;
  if (value != nullptr) {
    path = value;
  }
  evhttp_clear_headers(&fields);
  return path;
}

// A line end that came in as %0D%0A would begin another header, or another
// request, at the upstream.
bool fit_for_request_line(std::string_view path) {
  return path.substr(0, 1) == "/" &&
         std::all_of(path.begin(), path.end(),
                     [](char c) { return c > ' ' && c <= '~'; });
}

}  // namespace

/// A request to /proxy, from the moment that evhttp hands it over until evhttp
/// has sent the answer or the client has gone.
///
/// Who owns what: the server owns this object, this object shares the fetch,
/// and evhttp owns the evhttp_request and its connection, but for one case, in
/// on_client_gone. The callbacks below get `this` by a plain pointer; they are
/// taken back before it dies, by the destructor.
class ProxyServer::Request {
 public:
  Request(ProxyServer& server, evhttp_request* request)
      : server_(server),
        request_(request),
        connection_(evhttp_request_get_connection(request)),
        fetch_(std::make_shared<UpstreamFetch>(server.loop_,
                                               server.options_.upstream,
                                               server.options_.time_limit)) {}

  ~Request() {
    fetch_->cancel();
    if (connection_ != nullptr) {
      // The connection lives on: for the client's next request.
      evhttp_connection_set_closecb(connection_, nullptr, nullptr);
    }
  }

  Request(const Request&) = delete;
  Request& operator=(const Request&) = delete;

  void start(std::string_view path) {
    watch_client();
    fetch_->start(path, [this](const Response& response) { answer(response); });
  }

 private:
  // While the application works on a request, evhttp does not read from its
  // connection, and so does not see the client go. It may be told to read on,
  // but not with its own read callback in place: that one ends the process if
  // the client sends more at this time. evhttp sets it again by itself when it
  // wants the next request.
  void watch_client() {
    evhttp_connection_set_closecb(connection_, &Request::on_client_gone, this);
    bufferevent* const events = evhttp_connection_get_bufferevent(connection_);
    bufferevent_data_cb on_written = nullptr;
    bufferevent_event_cb on_event = nullptr;
    void* argument = nullptr;
    bufferevent_getcb(events, nullptr, &on_written, &on_event, &argument);
    bufferevent_setcb(events, nullptr, on_written, on_event, argument);
    bufferevent_setwatermark(events, EV_READ, 0, kLargestRequest);
    bufferevent_enable(events, EV_READ);
  }

  void answer(const Response& response) {
    answered_ = true;
    server_.counters_.failed += response.failed ? 1 : 0;
    server_.counters_.proxied += response.failed ? 0 : 1;
    evhttp_request_set_on_complete_cb(request_, &Request::on_sent, this);
    send_text(request_, response.status, response.content_type, response.body);
  }

  // evhttp calls it when the last byte has left, and frees the request next.
  static void on_sent(evhttp_request* /*request*/, void* self) noexcept {
    auto* const request = static_cast<Request*>(self);
    request->server_.remove(request);
  }

  // evhttp calls it while it frees the connection. If it was waiting for our
  // answer it has let go of the request before, which is ours to free then;
  // if it was sending it, the request is freed with the connection.
  static void on_client_gone(evhttp_connection* /*connection*/,
                             void* self) noexcept {
    auto* const request = static_cast<Request*>(self);
    request->connection_ = nullptr;
    if (evhttp_request_get_connection(request->request_) == nullptr) {
      evhttp_request_free(request->request_);
    }
    if (!request->answered_) {
      request->server_.counters_.abandoned += 1;
    }
    request->server_.remove(request);
  }

  ProxyServer& server_;
  evhttp_request* const request_;
  evhttp_connection* connection_;  // null once it is gone
  const std::shared_ptr<UpstreamFetch> fetch_;
  bool answered_ = false;
};

ProxyServer::ProxyServer(event_base* base, waterspout::IOLoop& loop,
                         Options options)
    : loop_(loop),
      options_(std::move(options)),
      http_(not_null(evhttp_new(base))) {
  evhttp_set_allowed_methods(http_.get(), EVHTTP_REQ_GET);
  evhttp_set_max_headers_size(http_.get(), kLargestRequest);
  evhttp_set_max_body_size(http_.get(), kLargestRequest);
  evhttp_set_cb(http_.get(), "/", &ProxyServer::on_page, this);
  evhttp_set_cb(http_.get(), "/proxy", &ProxyServer::on_proxy, this);
  evhttp_bound_socket* const socket =
      evhttp_bind_socket_with_handle(http_.get(), "127.0.0.1", options_.port);
  if (socket == nullptr) {
    throw std::runtime_error("cannot listen on 127.0.0.1:" +
                             std::to_string(options_.port));
  }
  const int fd = evhttp_bound_socket_get_fd(socket);
  port_ = waterspout::Address::local_of(fd).port();
}

ProxyServer::~ProxyServer() = default;

// These two are called by libevent. noexcept: an exception that passed through
// its C frames would leave the base unusable for good.
void ProxyServer::on_page(evhttp_request* request, void* /*self*/) noexcept {
  send_text(request, HTTP_OK, "text/plain", kPage);
}

void ProxyServer::on_proxy(evhttp_request* request, void* self) noexcept {
  static_cast<ProxyServer*>(self)->proxy(request);
}

void ProxyServer::proxy(evhttp_request* request) {
  const std::optional<std::string> path = path_of(request);
  if (!path || !fit_for_request_line(*path)) {
    send_text(request, HTTP_BADREQUEST, "text/plain",
              "usage: /proxy?path=/x, without control characters or spaces\n");
    return;
  }
  auto proxied = std::make_unique<Request>(*this, request);
  Request& started = *proxied;
  requests_.emplace(&started, std::move(proxied));
  started.start(*path);
}

void ProxyServer::remove(const Request* request) noexcept {
  requests_.erase(request);
  if (over_callback_) {
    over_callback_();
  }
}

}  // namespace embed_libevent
