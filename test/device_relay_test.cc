// The sample device_relay: its Relay in this process, and the program. What
// breaks its rules is in device_relay_refusals_test.cc.

#include <cstddef>
#include <string>

#include <doctest/doctest.h>

#include "device_relay/relay.h"
#include "device_relay/source.h"
#include "support/loop_fixture.h"
#include "support/program.h"
#include "support/relay_peers.h"
#include "support/sample_program.h"
#include "support/sockets.h"
#include "support/stream_helpers.h"

using device_relay::Relay;
using device_relay::Source;
using waterspout::test::announced_port;
using waterspout::test::connect_to;
using waterspout::test::kConsumer;
using waterspout::test::kSource;
using waterspout::test::kYes;
using waterspout::test::LoopFixture;
using waterspout::test::make_pattern;
using waterspout::test::Program;
using waterspout::test::ProgramResult;
using waterspout::test::RelayAndPeers;
using waterspout::test::sample_command;
using waterspout::test::text;
using waterspout::test::UniquePeerFd;

TEST_SUITE_BEGIN("device_relay");

TEST_CASE("Relay passes a source's frames on to its consumers") {
  RelayAndPeers served;
  const std::size_t source = served.source("phone", "x,y,z");
  const std::size_t one = served.consumer("phone", "x,y,z");
  const std::size_t two = served.consumer("phone", "x,y,z");
  const std::string frames = make_pattern(3 * 12);

  served.peers[source].send(frames);
  CHECK(served.receive(one, frames.size()) == frames);
  CHECK(served.receive(two, frames.size()) == frames);
}

TEST_CASE("Relay keeps devices apart") {
  RelayAndPeers served;
  const std::size_t phone = served.source("phone", "x");
  const std::size_t tablet = served.source("tablet", "x,y");
  const std::size_t of_phone = served.consumer("phone", "x");
  const std::size_t of_tablet = served.consumer("tablet", "x,y");
  CHECK(served.relay->devices().size() == 2);

  served.peers[phone].send("1111");
  served.peers[tablet].send("22222222");
  CHECK(served.receive(of_phone, 4) == "1111");
  CHECK(served.receive(of_tablet, 8) == "22222222");
}

TEST_CASE("Relay answers each step of a source") {
  RelayAndPeers served;
  const std::size_t source = served.connect(kSource);
  CHECK(served.receive(source, 1) == kYes);
  served.peers[source].send(text("phone"));
  CHECK(served.receive(source, 1) == kYes);
  CHECK(served.relay->devices().find("phone") == nullptr);
  served.peers[source].send(text("x,y"));
  CHECK(served.receive(source, 1) == kYes);
  CHECK(served.relay->devices().find("phone") != nullptr);
}

TEST_CASE("Relay takes what comes byte by byte") {
  RelayAndPeers served;
  const auto send_bytes = [&](std::size_t peer, const std::string& bytes) {
    for (const char byte : bytes) {
      served.peers[peer].send({&byte, 1});
      served.loop.run_turns(3);
    }
  };
  const std::size_t source = served.connect("");
  send_bytes(source, kSource + text("phone") + text("x,y"));
  CHECK(served.receive(source, 3) == kYes + kYes + kYes);
  const std::size_t consumer = served.connect("");
  send_bytes(consumer, kConsumer + text("phone") + kYes);
  CHECK(served.receive(consumer, 9) == kYes + kYes + text("x,y"));
  served.loop.run_until([&] { return served.receivers("phone") == 1; });

  send_bytes(source, "1234567");
  CHECK(served.peers[consumer].recv_ready().empty());  // whole frames only
  send_bytes(source, "8");
  CHECK(served.receive(consumer, 8) == "12345678");
}

TEST_CASE("Relay gives a consumer the frames since it has accepted the keys") {
  RelayAndPeers served;
  const std::size_t source = served.source("phone", "x");
  const std::size_t early = served.consumer("phone", "x");
  served.peers[source].send("1111");
  CHECK(served.receive(early, 4) == "1111");

  const std::size_t late = served.connect(kConsumer + text("phone"));
  CHECK(served.receive(late, 7) == kYes + kYes + text("x"));
  served.peers[source].send("2222");
  CHECK(served.receive(early, 4) == "2222");
  served.peers[late].send(kYes);
  served.loop.run_until([&] { return served.receivers("phone") == 2; });
  served.peers[source].send("3333");
  CHECK(served.receive(early, 4) == "3333");
  CHECK(served.receive(late, 4) == "3333");
}

TEST_CASE("Relay goes on when a consumer goes") {
  RelayAndPeers served;
  const std::size_t source = served.source("phone", "x");
  const std::size_t one = served.consumer("phone", "x");
  const std::size_t two = served.consumer("phone", "x");
  SUBCASE("in order") { served.peers[one].close(); }
  SUBCASE("by a reset") { served.peers[one].reset(); }
  served.settle(2);
  CHECK(served.receivers("phone") == 1);

  served.peers[source].send("1111");
  CHECK(served.receive(two, 4) == "1111");
  const std::size_t again = served.consumer("phone", "x");
  served.peers[source].send("2222");
  CHECK(served.receive(again, 4) == "2222");
}

TEST_CASE("Relay sends what there is when a source goes, and closes") {
  RelayAndPeers served;
  const std::size_t source = served.source("phone", "x");
  const std::size_t consumer = served.consumer("phone", "x");
  const std::size_t asked = served.connect(kConsumer + text("phone"));
  CHECK(served.receive(asked, 7) == kYes + kYes + text("x"));
  SUBCASE("in order") {
    served.peers[source].send("1111222233");
    served.peers[source].close();
    served.settle(0);
    CHECK(served.receive_to_end(consumer) == "11112222");
  }
  SUBCASE("by a reset") {
    served.peers[source].reset();
    served.settle(0);
    CHECK(served.receive_to_end(consumer).empty());
  }
  CHECK(served.receive_to_end(asked).empty());
  CHECK(served.relay->devices().size() == 0);

  const std::size_t next = served.source("phone", "a,b");
  const std::size_t its = served.consumer("phone", "a,b");
  served.peers[next].send("33334444");
  CHECK(served.receive(its, 8) == "33334444");
}

TEST_CASE("Relay takes the longest uuid and the longest keys") {
  RelayAndPeers served(Relay::kLeastMaxUnsent);
  const std::string uuid(Source::kLongestUuid, 'u');
  const std::string keys(Source::kLongestKeys, ',');
  const std::size_t source = served.source(uuid, keys);
  const std::size_t consumer = served.consumer(uuid, keys);
  const std::string frame = make_pattern(4 * (keys.size() + 1));
  served.peers[source].send(frame);
  CHECK(served.receive(consumer, frame.size()) == frame);
}

TEST_CASE("Relay may go before its connections") {
  RelayAndPeers served;
  const std::size_t source = served.source("phone", "x");
  const std::size_t consumer = served.consumer("phone", "x");
  served.relay.reset();
  served.peers[source].send("1111");
  CHECK(served.receive(consumer, 4) == "1111");
}

TEST_CASE("A loop may go before the connections of a Relay") {
  LoopFixture loop;
  UniquePeerFd peer;
  {
    Relay relay(loop);
    relay.listen(0, "127.0.0.1");
    peer = connect_to(relay.addresses().front());
    peer.send(kSource + text("phone") + text("x"));
    loop.run_until([&] { return relay.devices().find("phone") != nullptr; });
    loop->close();
  }
  CHECK(peer.recv_exactly(3) == kYes + kYes + kYes);
  CHECK(peer.recv_all().empty());
}

TEST_CASE("device_relay serves until SIGTERM") {
  Program program(sample_command("device_relay",
                                 {"--address", "127.0.0.1", "--port", "0"}));
  const waterspout::Address address(
      "127.0.0.1", announced_port(program.wait_for_out("listening on ")));
  const UniquePeerFd source = connect_to(address);
  source.send(kSource + text("phone") + text("x"));
  CHECK(source.recv_exactly(3) == kYes + kYes + kYes);
  const UniquePeerFd consumer = connect_to(address);
  consumer.send(kConsumer + text("phone"));
  CHECK(consumer.recv_exactly(7) == kYes + kYes + text("x"));

  const ProgramResult result = program.terminate();
  CHECK(result.exit_code == 0);
  CHECK(result.err.empty());
  CHECK(consumer.recv_all().empty());
}

TEST_SUITE_END();
