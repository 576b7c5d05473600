#include "tls/tls_session.h"

#include <cstddef>
#include <ostream>
#include <stdexcept>
#include <string>
#include <string_view>
#include <system_error>

#include <doctest/doctest.h>
#include <openssl/err.h>
#include <openssl/ssl.h>

#include "internal/tls_ends.h"
#include "support/failing_memory.h"
#include "support/tls_streams.h"

using waterspout::ChunkDeque;
using waterspout::SSLContext;
using waterspout::SSLErrc;
using waterspout::SSLVersion;
using waterspout::TLSSession;
using waterspout::test::FailingMemory;
using waterspout::test::kReplacesNew;
using waterspout::test::make_client_context;
using waterspout::test::make_server_context;
using waterspout::test::take_output;
using waterspout::test::TLSEnds;

namespace {

using Step = TLSSession::Step;

SSLContext client_speaking(SSLVersion version) {
  return make_client_context({.maximum_version = version});
}

std::string read_some(TLSSession& session, std::size_t most) {
  std::string room(most, '\0');
  const TLSSession::Result result = session.read(room);
  CHECK(result.step == Step::done);
  room.resize(result.bytes);
  return room;
}

void check_exchange(TLSEnds& ends) {
  CHECK(ends.client.write("to the server").step == Step::done);
  TLSEnds::deliver(ends.client, ends.server, nullptr);
  CHECK(TLSEnds::read_all(ends.server) == "to the server");
  CHECK(ends.server.write("to the client").step == Step::done);
  TLSEnds::deliver(ends.server, ends.client, nullptr);
  CHECK(TLSEnds::read_all(ends.client) == "to the client");
}

/// A peer that is OpenSSL itself, in memory, for what only it can ask for.
class RawClient {
 public:
  explicit RawClient(const SSLContext& context)
      : ssl_(SSL_new(context.native())),
        in_(BIO_new(BIO_s_mem())),
        out_(BIO_new(BIO_s_mem())) {
    SSL_set_bio(ssl_, in_, out_);
    SSL_set_connect_state(ssl_);
  }
  ~RawClient() { SSL_free(ssl_); }
  RawClient(const RawClient&) = delete;
  RawClient& operator=(const RawClient&) = delete;

  [[nodiscard]] SSL* ssl() const noexcept { return ssl_; }

  [[nodiscard]] std::string take_output() {
    std::string bytes(BIO_ctrl_pending(out_), '\0');
    BIO_read(out_, bytes.data(), static_cast<int>(bytes.size()));
    return bytes;
  }

  /// Gives `session` what we have to say, and takes what it has.
  void exchange(TLSSession& session) {
    TLSEnds::feed(session, take_output());
    TLSEnds::step(session);
    const std::string answer = waterspout::test::take_output(session);
    BIO_write(in_, answer.data(), static_cast<int>(answer.size()));
  }

 private:
  SSL* const ssl_;
  BIO* const in_;
  BIO* const out_;
};

}  // namespace

TEST_SUITE_BEGIN("tls_session");

TEST_CASE("two sessions shake hands and exchange data") {
  for (const SSLVersion version : {SSLVersion::tls1_2, SSLVersion::tls1_3}) {
    TLSEnds ends(client_speaking(version), make_server_context());
    REQUIRE(ends.shake_hands());
    CHECK(ends.client.version() ==
          (version == SSLVersion::tls1_2 ? "TLSv1.2" : "TLSv1.3"));
    CHECK(ends.client.version() == ends.server.version());
    CHECK_FALSE(ends.client.cipher().empty());
    check_exchange(ends);
  }
}

TEST_CASE("a handshake goes on byte by byte") {
  TLSEnds ends(make_client_context(), make_server_context());
  auto dribble = [](TLSSession& to) {
    return [&to](const std::string& bytes) {
      for (const char byte : bytes) {
        TLSEnds::feed(to, std::string_view(&byte, 1));
        TLSEnds::step(to);
      }
      return std::string();
    };
  };
  ends.to_server = dribble(ends.server);
  ends.to_client = dribble(ends.client);
  REQUIRE(ends.shake_hands());
  check_exchange(ends);
}

TEST_CASE("what a session holds is told though nothing more is fed") {
  TLSEnds ends(make_client_context(), make_server_context());
  REQUIRE(ends.shake_hands());
  TLSEnds::read_all(ends.client);  // the ticket
  CHECK_FALSE(ends.client.has_input());

  std::string sent;
  for (int i = 0; i < 3; ++i) {
    const std::string record(16'384, static_cast<char>('a' + i));
    CHECK(ends.server.write(record).bytes == record.size());
    sent += record;
  }
  TLSEnds::deliver(ends.server, ends.client, nullptr);

  std::string got = read_some(ends.client, 100);
  CHECK(got.size() == 100);
  while (ends.client.has_input()) {
    got += read_some(ends.client, 5000);
  }
  CHECK((got == sent));
  CHECK(ends.client.read({}).step != Step::failed);
}

TEST_CASE("a close in order ends the other side's reads") {
  TLSEnds ends(make_client_context(), make_server_context());
  REQUIRE(ends.shake_hands());
  ends.server.write("last");
  ends.server.close();
  TLSEnds::deliver(ends.server, ends.client, nullptr);
  CHECK(TLSEnds::read_all(ends.client) == "last");
  std::string room(10, '\0');
  CHECK(ends.client.read(room).step == Step::ended);
  CHECK(ends.client.has_input());
  CHECK_FALSE(ends.client.failure());
}

TEST_CASE("a close that there is no memory for fails" *
          doctest::skip(!kReplacesNew)) {
  TLSEnds ends(make_client_context(), make_server_context());
  REQUIRE(ends.shake_hands());
  // Such as it needs, and the pool has left.
  ChunkDeque taken(ends.pool);
  for (std::size_t kept = ends.pool.kept_bytes() + 1;
       ends.pool.kept_bytes() < kept;) {
    kept = ends.pool.kept_bytes();
    taken.append_chunk("x");
  }
  const FailingMemory failing(0, 1);
  CHECK(ends.server.close().step == Step::failed);
  CHECK(ends.server.failure().code == std::errc::not_enough_memory);
}

TEST_CASE("an end without a close is a truncation, behind the data") {
  for (const bool accepted : {false, true}) {
    TLSEnds ends(make_client_context({.accept_truncation = accepted}),
                 make_server_context());
    REQUIRE(ends.shake_hands());
    ends.server.write("first");
    TLSEnds::deliver(ends.server, ends.client, nullptr);
    ends.client.feed_end();
    CHECK(TLSEnds::read_all(ends.client) == "first");
    std::string room(10, '\0');
    CHECK(ends.client.read(room).step ==
          (accepted ? Step::ended : Step::failed));
    CHECK((ends.client.failure().code == SSLErrc::truncated) == !accepted);
  }
}

TEST_CASE("a write that blocks is repeated as it was") {
  TLSEnds ends(make_client_context(), make_server_context());
  REQUIRE(ends.shake_hands());
  const std::string data(10'000, 'x');
  const std::string elsewhere = data;

  ends.client.let_write(false);
  CHECK(ends.client.write(data).step == Step::output_full);
  CHECK(ends.client.output().empty());
  ends.client.let_write(true);

  SUBCASE("and goes on") {
    CHECK(ends.client.write(data).bytes == data.size());
    TLSEnds::deliver(ends.client, ends.server, nullptr);
    CHECK((TLSEnds::read_all(ends.server) == data));
  }
  SUBCASE("or OpenSSL complains of another address") {
    CHECK(ends.client.write(elsewhere).step == Step::failed);
    CHECK(ends.client.failure().detail.find("bad write retry") !=
          std::string::npos);
  }
  SUBCASE("or of another length") {
    const std::string_view shorter = std::string_view(data).substr(1);
    CHECK(ends.client.write(shorter).step == Step::failed);
  }
}

TEST_CASE("one connection's error is not another's") {
  TLSEnds ends(make_client_context(), make_server_context());
  REQUIRE(ends.shake_hands());
  TLSEnds broken(make_client_context(), make_server_context());
  REQUIRE(broken.shake_hands());

  TLSEnds::feed(broken.client,
                std::string("\x17\x03\x03\x00\x23", 5) + std::string(35, 'x'));
  std::string room(10, '\0');
  CHECK(broken.client.read(room).step == Step::failed);
  CHECK(broken.client.failure().code == SSLErrc::bad_record);
  CHECK(ERR_peek_error() == 0);
  CHECK(broken.client.read(room).step == Step::failed);
  CHECK(broken.client.write("x").step == Step::failed);

  ERR_raise(ERR_LIB_USER, ERR_R_INTERNAL_ERROR);  // left by somebody else
  CHECK(ends.client.read(room).step == Step::wants_input);
  ERR_raise(ERR_LIB_USER, ERR_R_INTERNAL_ERROR);
  check_exchange(ends);
}

TEST_CASE("a ticket is kept and resumes the next connection") {
  const SSLContext server = make_server_context();
  for (const SSLVersion version : {SSLVersion::tls1_2, SSLVersion::tls1_3}) {
    const SSLContext client = client_speaking(version);
    auto connect = [&](std::string_view address, const char* host) {
      TLSEnds ends(client, server, {host, true});
      CHECK(ends.client.may_resume());
      ends.client.set_peer_address(address);
      CHECK(ends.shake_hands());
      check_exchange(ends);
      CHECK(ends.client.session_reused() == ends.server.session_reused());
      return ends.client.session_reused();
    };
    CHECK_FALSE(connect("127.0.0.1:1", "localhost"));
    CHECK(connect("127.0.0.1:1", "localhost"));
    CHECK(connect("127.0.0.1:1", "localhost"));
    CHECK_FALSE(connect("127.0.0.1:2", "localhost"));
    CHECK_FALSE(connect("127.0.0.1:1", "127.0.0.1"));
  }
}

TEST_CASE("a session that failed is not resumed") {
  const SSLContext server = make_server_context();
  const SSLContext client = client_speaking(SSLVersion::tls1_2);
  TLSEnds ends(client, server);
  ends.client.set_peer_address("a");
  REQUIRE(ends.shake_hands());
  TLSEnds::feed(ends.client,
                std::string("\x17\x03\x03\x00\x23", 5) + std::string(35, 'x'));
  std::string room(10, '\0');
  CHECK(ends.client.read(room).step == Step::failed);

  TLSEnds next(client, server);
  next.client.set_peer_address("a");
  REQUIRE(next.shake_hands());
  CHECK_FALSE(next.client.session_reused());
}

TEST_CASE("an update of keys that the peer asks for is answered") {
  waterspout::ChunkPool pool;
  TLSSession server(make_server_context(), {}, pool);
  RawClient client(make_client_context());
  for (int i = 0; i < 4; ++i) {
    SSL_do_handshake(client.ssl());
    client.exchange(server);
  }
  REQUIRE(server.established());
  const std::string frozen(1000, 'x');
  std::string room(100, '\0');
  bool blocked = false;

  SUBCASE("at once") {}
  SUBCASE("while a write is blocked") {
    blocked = true;
    server.let_write(false);
    CHECK(server.write(frozen).step == Step::output_full);
  }
  CHECK(SSL_key_update(client.ssl(), SSL_KEY_UPDATE_REQUESTED) == 1);
  CHECK(SSL_write(client.ssl(), "new", 3) == 3);
  client.exchange(server);
  const TLSSession::Result got = server.read(room);
  CHECK(room.substr(0, got.bytes) == "new");
  server.let_write(true);
  if (blocked) {
    CHECK(server.write(frozen).bytes == frozen.size());
  }
  CHECK(server.write("answer").step == Step::done);
  client.exchange(server);
  std::string answer(2000, '\0');
  int size = 0;
  for (int n = 1; n > 0; size += n > 0 ? n : 0) {
    n = SSL_read(client.ssl(), answer.data() + size, 1000);
  }
  CHECK(answer.substr(0, static_cast<std::size_t>(size)) ==
        (blocked ? frozen : "") + "answer");
  CHECK(SSL_get_key_update_type(client.ssl()) == SSL_KEY_UPDATE_NONE);
  CHECK_FALSE(server.failure());
}

TEST_CASE("a peer that asks for answers and reads none is turned down") {
  waterspout::ChunkPool pool;
  TLSSession server(make_server_context(), {}, pool);
  RawClient client(make_client_context());
  for (int i = 0; i < 4; ++i) {
    SSL_do_handshake(client.ssl());
    client.exchange(server);
  }
  std::string room(100, '\0');
  for (int i = 0; i < 100'000 && !server.failure(); ++i) {
    SSL_key_update(client.ssl(), SSL_KEY_UPDATE_REQUESTED);
    SSL_do_handshake(client.ssl());
    TLSEnds::feed(server, client.take_output());
    static_cast<void>(server.read(room));
  }
  CHECK(server.failure().code == SSLErrc::protocol_error);
  CHECK(server.output().size() < 200'000);
}

TEST_CASE("a client that verifies has to be told a host name") {
  const SSLContext client = make_client_context();
  waterspout::ChunkPool pool;
  auto make = [&](const SSLContext& context, const waterspout::TLSPeer& peer) {
    const TLSSession session(context, peer, pool);
  };
  CHECK_THROWS_AS(make(client, {}), std::invalid_argument);
  CHECK_NOTHROW(make(client, {"", false}));
  CHECK_NOTHROW(
      make(make_client_context({.verify = waterspout::SSLVerify::none}), {}));
  CHECK_NOTHROW(make(client, {"[::1]", true}));
  CHECK_NOTHROW(make(client, {"localhost.", true}));
  CHECK_NOTHROW(make(client, {std::string(253, 'a'), true}));
  for (const std::string& name :
       {std::string("."), std::string("a b"), std::string(254, 'a'),
        std::string("local\0host", 10), std::string("a\n"), std::string("[]"),
        std::string("fe80::1%lo"), std::string("h\xc3\xb6st")}) {
    CAPTURE(name);
    CHECK_THROWS_AS(make(client, {name, true}), std::invalid_argument);
  }
}

TEST_SUITE_END();
