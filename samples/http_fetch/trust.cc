#include "http_fetch/trust.h"

#include <stdexcept>
#include <string>

namespace http_fetch {

using waterspout::SSLContext;

const SSLContext& Trust::context() try {
  if (!context_) {
    waterspout::SSLOptions tls;
    tls.ca_file = options_.ca_file;
    tls.certificate_file = options_.certificate_file;
    tls.key_file = options_.key_file;
    if (options_.insecure) {
      tls.verify = waterspout::SSLVerify::none;
    }
    context_ = SSLContext::client(tls);
  }
  return *context_;
} catch (const std::logic_error& error) {
  throw std::runtime_error(std::string("https is not supported: ") +
                           error.what());
}

}  // namespace http_fetch
