#include <utility>

#include "waterspout/resolver.h"

#include "net/host.h"
#include "tls/host_name.h"

namespace waterspout {
namespace {

OverrideResolver::Mapping checked(const OverrideResolver::Mapping& mapping) {
  OverrideResolver::Mapping lower;
  for (const auto& [from, to] : mapping.endpoints) {
    check_host(to.host, "OverrideResolver");
    lower.endpoints.emplace(HostAndPort{lower_case(from.host), from.port}, to);
  }
  for (const auto& [from, to] : mapping.hosts) {
    check_host(to, "OverrideResolver");
    lower.hosts.emplace(lower_case(from), to);
  }
  return lower;
}

}  // namespace

OverrideResolver::OverrideResolver(Resolver& inner, const Mapping& mapping)
    : Resolver(inner.loop()), inner_(inner), mapping_(checked(mapping)) {}

void OverrideResolver::look_up(Question question) {
  HostAndPort wanted{lower_case(question.host()), question.port()};
  const auto endpoint = mapping_.endpoints.find(wanted);
  const auto host = mapping_.hosts.find(wanted.host);
  if (endpoint != mapping_.endpoints.end()) {
    wanted = endpoint->second;
  } else {
    wanted.host = host != mapping_.hosts.end() ? host->second : question.host();
  }
  RequestHandle asked = inner_.resolve(
      wanted.host, wanted.port, {.family = question.family()},
      [question](std::error_code error, const std::vector<Address>& addresses) {
        question.answer(error, addresses);
      });
  question.when_dropped([asked]() mutable { asked.cancel(); });
}

}  // namespace waterspout
