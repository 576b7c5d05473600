// A handshake that is cut or damaged on its way, at every byte.

#include <cstddef>
#include <string>

#include <doctest/doctest.h>

#include "internal/tls_ends.h"
#include "support/tls_streams.h"

using waterspout::SSLContext;
using waterspout::SSLErrc;
using waterspout::SSLVersion;
using waterspout::TLSFailure;
using waterspout::TLSSession;
using waterspout::test::make_client_context;
using waterspout::test::make_server_context;
using waterspout::test::TLSEnds;

namespace {

/// What passes in one direction: a cut or a flip at one of its bytes.
class Damage {
 public:
  enum class Kind { none, cut, flip };

  Damage(Kind kind, std::size_t position) : kind_(kind), position_(position) {}

  std::string apply(std::string bytes) {
    const std::size_t begin = passed_;
    passed_ += bytes.size();
    if (kind_ == Kind::cut && passed_ > position_) {
      bytes.resize(position_ > begin ? position_ - begin : 0);
    }
    if (kind_ == Kind::flip && begin <= position_ && position_ < passed_) {
      char& byte = bytes[position_ - begin];
      byte = static_cast<char>(byte ^ (1 << position_ % 8));
    }
    return bytes;
  }

  [[nodiscard]] std::size_t passed() const noexcept { return passed_; }

 private:
  Kind kind_;
  std::size_t position_;
  std::size_t passed_ = 0;
};

struct Handshake {
  SSLContext client;
  SSLContext server;
};

Handshake handshake_of(SSLVersion version) {
  return {
      make_client_context({.maximum_version = version, .resumption = false}),
      make_server_context({.resumption = false})};
}

void pass_through(TLSEnds& ends, bool to_server, Damage& damage) {
  (to_server ? ends.to_server : ends.to_client) = [&](std::string bytes) {
    return damage.apply(std::move(bytes));
  };
}

std::size_t handshake_size(const Handshake& contexts, bool to_server) {
  TLSEnds ends(contexts.client, contexts.server);
  Damage none(Damage::Kind::none, 0);
  pass_through(ends, to_server, none);
  REQUIRE(ends.shake_hands());
  return none.passed();
}

// The side that is cut off hears of the end, and then the other one.
void end_both(TLSEnds& ends) {
  for (TLSSession* const session : {&ends.server, &ends.client}) {
    session->feed_end();
    TLSEnds::step(*session);
    std::string room(100, '\0');
    static_cast<void>(session->read(room));
  }
}

bool ended_badly(const TLSFailure& failure) {
  return failure.code == SSLErrc::closed_in_handshake ||
         failure.code == SSLErrc::truncated;
}

bool exchange(TLSSession& from, TLSSession& to) {
  from.write("whole");
  TLSEnds::deliver(from, to, nullptr);
  const std::string got = TLSEnds::read_all(to);
  CHECK((got.empty() || got == "whole"));
  return got == "whole";
}

}  // namespace

TEST_SUITE_BEGIN("tls_damage");

TEST_CASE("a handshake that is cut at any byte ends in an error at both ends") {
  for (const SSLVersion version : {SSLVersion::tls1_2, SSLVersion::tls1_3}) {
    const Handshake contexts = handshake_of(version);
    for (const bool to_server : {true, false}) {
      const std::size_t size = handshake_size(contexts, to_server);
      CHECK(size > 100);
      int wrong = 0;
      for (std::size_t cut = 0; cut < size; ++cut) {
        TLSEnds ends(contexts.client, contexts.server);
        Damage damage(Damage::Kind::cut, cut);
        pass_through(ends, to_server, damage);
        ends.shake_hands();
        end_both(ends);
        const bool good = ended_badly(ends.client.failure()) &&
                          ended_badly(ends.server.failure());
        wrong += good ? 0 : 1;
      }
      CHECK(wrong == 0);
    }
  }
}

// TLS says to ignore the version in a record's header, so that a flip there may
// go unnoticed; then the data is whole.
TEST_CASE("a handshake with any byte altered gives no altered data") {
  for (const SSLVersion version : {SSLVersion::tls1_2, SSLVersion::tls1_3}) {
    const Handshake contexts = handshake_of(version);
    for (const bool to_server : {true, false}) {
      const std::size_t size = handshake_size(contexts, to_server);
      std::size_t unnoticed = 0;
      for (std::size_t at = 0; at < size; ++at) {
        TLSEnds ends(contexts.client, contexts.server);
        Damage damage(Damage::Kind::flip, at);
        pass_through(ends, to_server, damage);
        if (ends.shake_hands() && exchange(ends.client, ends.server) &&
            exchange(ends.server, ends.client)) {
          ++unnoticed;
        } else {
          end_both(ends);
          CHECK((ends.client.failure() || ends.server.failure()));
        }
      }
      CHECK(unnoticed <= 20);
    }
  }
}

TEST_CASE("a record with any byte altered is refused") {
  const Handshake contexts = handshake_of(SSLVersion::tls1_3);
  const std::string data = "some data";
  int accepted = 0;
  for (std::size_t at = 0; at < data.size() + 22; ++at) {
    TLSEnds ends(contexts.client, contexts.server);
    REQUIRE(ends.shake_hands());
    Damage damage(Damage::Kind::flip, at);
    ends.client.write(data);
    TLSEnds::deliver(ends.client, ends.server, [&](std::string bytes) {
      return damage.apply(std::move(bytes));
    });
    const std::string got = TLSEnds::read_all(ends.server);
    CHECK((got.empty() || got == data));
    ends.server.feed_end();
    std::string room(100, '\0');
    CHECK(ends.server.read(room).step == TLSSession::Step::failed);
    accepted += got == data ? 1 : 0;
  }
  CHECK(accepted == 0);
}

TEST_SUITE_END();
