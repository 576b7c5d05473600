#include "waterspout/resolver.h"

#include <stdexcept>
#include <utility>

#include <netdb.h>
#include <sys/socket.h>

#include "waterspout/error.h"
#include "waterspout/stack_context.h"

#include "net/host.h"
#include "net/request.h"

namespace waterspout {

namespace detail {

class ResolveRequest final : public Request {
 public:
  ResolveRequest(RequestSet& set, std::string its_host, std::uint16_t its_port,
                 int its_family, Resolver::ResolveCallback callback)
      : Request(set),
        host(std::move(its_host)),
        port(its_port),
        family(its_family),
        callback_(std::move(callback)) {}

  void limit(Duration timeout) { set_timeout(timeout); }

  void answer(std::error_code error, std::vector<Address> addresses) {
    if (!undecided()) {
      return;
    }
    when_dropped = nullptr;
    error_ = error;
    if (!error) {
      keep_family(std::move(addresses));
    }
    decide();
  }

  const std::string host;
  const std::uint16_t port;
  const int family;
  std::function<void()> when_dropped;

 private:
  void keep_family(std::vector<Address> addresses) {
    if (family != AF_UNSPEC) {
      std::erase_if(addresses, [this](const Address& address) {
        return address.family() != family;
      });
    }
    addresses_ = std::move(addresses);
    if (addresses_.empty()) {
      error_ = std::error_code(EAI_NODATA, resolver_category());
    }
  }

  void late() noexcept override {
    error_ = std::make_error_code(std::errc::timed_out);
    decide();
  }

  void let_go() noexcept override {
    if (const auto tell = std::exchange(when_dropped, nullptr)) {
      tell();
    }
  }

  void call_back() noexcept override {
    run(std::move(callback_), "resolve", error_, addresses_);
  }

  void destroy_callback() noexcept override {
    const Resolver::ResolveCallback dying = std::move(callback_);
  }

  Resolver::ResolveCallback callback_;
  std::error_code error_;
  std::vector<Address> addresses_;
};

}  // namespace detail

namespace {

void check_options(const ResolveOptions& options) {
  check_family(options.family, "resolve");
  if (options.timeout < Duration::zero()) {
    throw std::invalid_argument("resolve: timeout: is negative");
  }
}

}  // namespace

Resolver::Resolver(IOLoop& loop)
    : requests_(std::make_shared<detail::RequestSet>(loop, "Resolver")) {}

Resolver::~Resolver() { requests_->close(); }

RequestHandle Resolver::resolve(std::string_view host, std::uint16_t port,
                                ResolveCallback callback) {
  return resolve(host, port, ResolveOptions(), std::move(callback));
}

RequestHandle Resolver::resolve(std::string_view host, std::uint16_t port,
                                ResolveOptions options,
                                ResolveCallback callback) {
  check_host(host, "resolve");
  check_options(options);
  if (!callback) {
    throw std::invalid_argument("resolve: callback: is empty");
  }
  static_cast<void>(loop());
  callback.set_operation("resolve");
  const auto request = std::make_shared<detail::ResolveRequest>(
      *requests_, std::string(host), port, options.family, std::move(callback));
  requests_->add(request);
  const NullContext outside;  // the callback brings its own
  try {
    request->limit(options.timeout);
    look_up(Question(request));
  } catch (...) {
    request->drop();
    throw;
  }
  return RequestHandle(request);
}

std::size_t Resolver::pending() const noexcept { return requests_->size(); }

IOLoop& Resolver::loop() const { return requests_->loop(); }

Resolver::Question::Question(
    std::shared_ptr<detail::ResolveRequest> request) noexcept
    : request_(std::move(request)) {}

const std::string& Resolver::Question::host() const noexcept {
  return request_->host;
}

std::uint16_t Resolver::Question::port() const noexcept {
  return request_->port;
}

int Resolver::Question::family() const noexcept { return request_->family; }

void Resolver::Question::answer(std::error_code error,
                                std::vector<Address> addresses) const {
  request_->answer(error, std::move(addresses));
}

bool Resolver::Question::answer_literal() const {
  const std::optional<Address> address = literal_address(host(), port());
  if (!address) {
    return false;
  }
  if (address->family() == AF_UNSPEC) {
    answer({EAI_NONAME, resolver_category()}, {});
  } else if (family() != AF_UNSPEC && family() != address->family()) {
    answer({EAI_ADDRFAMILY, resolver_category()}, {});
  } else {
    answer({}, {*address});
  }
  return true;
}

void Resolver::Question::when_dropped(std::function<void()> function) const {
  if (request_->undecided()) {
    request_->when_dropped = std::move(function);
  }
}

}  // namespace waterspout
