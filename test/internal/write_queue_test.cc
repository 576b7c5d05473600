#include "stream/write_queue.h"

#include <algorithm>
#include <cstring>
#include <deque>
#include <string>
#include <vector>

#include <doctest/doctest.h>

namespace {

using waterspout::Address;
using waterspout::Scratch;
using waterspout::StreamPools;
using waterspout::Transfer;
using waterspout::Transport;
using waterspout::WriteQueue;

/// Takes of each attempt what its script says; 0 is "would block", and an empty
/// script takes all. Remembers what it was offered.
class ScriptedTransport final : public Transport {
 public:
  struct Attempt {
    const void* address;
    std::string bytes;
    bool operator==(const Attempt&) const = default;
  };

  explicit ScriptedTransport(bool freezes) : Transport(freezes) {}

  [[nodiscard]] int fd() const noexcept override { return -1; }
  Transfer read_otherwise(std::span<char>) noexcept override { return {}; }
  Transfer connect(const Address&) noexcept override { return {}; }
  std::error_code connect_result() noexcept override { return {}; }
  using Transport::write;
  Transfer write(std::span<const iovec> pieces) noexcept override {
    Attempt attempt{pieces[0].iov_base, {}};
    for (const iovec& piece : pieces) {
      attempt.bytes.append(static_cast<const char*>(piece.iov_base),
                           piece.iov_len);
    }
    attempts.push_back(attempt);
    std::size_t taken = attempt.bytes.size();
    if (!script.empty()) {
      taken = std::min(taken, script.front());
      script.pop_front();
    }
    output += attempt.bytes.substr(0, taken);
    if (taken == 0) {
      return {};
    }
    return {Transfer::Outcome::done, taken};
  }

  std::deque<std::size_t> script;
  std::vector<Attempt> attempts;
  std::string output;
};

struct Queue {
  StreamPools pools;
  WriteQueue queue{pools};
};

}  // namespace

TEST_SUITE_BEGIN("write_queue");

TEST_CASE(
    "a frozen write is presented again with the same bytes, address and "
    "length, whatever was appended in between") {
  Queue state;
  ScriptedTransport transport(true);
  transport.script = {0, 0, 4};

  state.queue.append("abcd");
  state.queue.send(transport);
  CHECK(state.queue.blocked());
  state.queue.append("efgh");
  state.queue.append(std::string(100000, 'x'));
  state.queue.send(transport);
  state.queue.send(transport);

  REQUIRE(transport.attempts.size() >= 3);
  CHECK(transport.attempts[0].bytes == "abcd");
  CHECK(transport.attempts[1] == transport.attempts[0]);
  CHECK(transport.attempts[2] == transport.attempts[0]);
  CHECK(transport.output == "abcdefgh" + std::string(100000, 'x'));
  CHECK_FALSE(state.queue.blocked());
}

TEST_CASE(
    "a frozen write that joined several chunks is presented again as it "
    "was") {
  Queue state;
  ScriptedTransport transport(true);
  transport.script = {0};
  std::string sent;
  for (int i = 0; i < 40; ++i) {
    const std::string piece(700, static_cast<char>('a' + i % 26));
    state.queue.append(piece);
    sent += piece;
  }

  state.queue.send(transport);
  state.queue.append("tail");
  state.queue.send(transport);

  REQUIRE(transport.attempts.size() >= 2);
  CHECK(transport.attempts[0].bytes.size() == 16384);
  CHECK(transport.attempts[1] == transport.attempts[0]);
  CHECK(transport.output == sent + "tail");
}

TEST_CASE(
    "a transport that freezes nothing gathers what was appended after it "
    "blocked") {
  Queue state;
  ScriptedTransport transport(false);
  transport.script = {0};

  state.queue.append("abcd");
  state.queue.send(transport);
  state.queue.append("efgh");
  state.queue.send(transport);

  REQUIRE(transport.attempts.size() == 2);
  CHECK(transport.attempts[1].bytes == "abcdefgh");
}

TEST_CASE(
    "data that was not queued goes out behind the queue, and the rest of "
    "it is queued") {
  Queue state;
  ScriptedTransport transport(false);
  transport.script = {6};

  state.queue.append("abcd");
  const Transfer sent = state.queue.send(transport, "efgh");

  CHECK(transport.output == "abcdef");
  CHECK(sent.outcome == Transfer::Outcome::would_block);
  CHECK(state.queue.size() == 2);
  CHECK(state.queue.blocked());
  state.queue.send(transport);
  CHECK(transport.output == "abcdefgh");
}

TEST_CASE("gathered bytes go out between the queue and the data, in order") {
  Queue state;
  Scratch scratch;
  ScriptedTransport transport(false);
  transport.script = {5, 3};

  state.queue.append("abc");
  state.queue.gather("de", scratch);
  state.queue.gather("fg", scratch);
  state.queue.send(transport, "hij");
  CHECK(state.queue.size() == 5);
  std::fill(scratch.output().begin(), scratch.output().end(), '?');
  while (state.queue.blocked()) {
    state.queue.send(transport);
  }

  CHECK(transport.output == "abcdefghij");
  CHECK(state.queue.size() == 0);
}

TEST_CASE("what is queued behind gathered bytes goes out behind them") {
  Queue state;
  Scratch scratch;
  ScriptedTransport transport(false);

  state.queue.gather("ab", scratch);
  state.queue.append("cd");
  CHECK(state.queue.size() == 4);
  state.queue.send(transport);

  CHECK(transport.output == "abcd");
}

TEST_CASE(
    "gathered bytes that follow each other in the input are sent from there, "
    "others from a copy") {
  Queue state;
  Scratch scratch;
  ScriptedTransport transport(false);
  char* const input = scratch.input().data();
  std::memcpy(input, "one two three", 13);

  state.queue.gather({input, 4}, scratch);
  state.queue.gather({input + 4, 4}, scratch);
  state.queue.send(transport);
  CHECK(transport.attempts.back() ==
        ScriptedTransport::Attempt{input, "one two "});

  state.queue.gather({input, 4}, scratch);
  state.queue.gather({input + 8, 5}, scratch);
  state.queue.send(transport);
  CHECK(transport.attempts.back().bytes == "one three");
  CHECK(transport.attempts.back().address == scratch.output().data());
}

TEST_CASE("gathered bytes that are not taken outlive the scratch memory") {
  for (const bool freezes : {false, true}) {
    CAPTURE(freezes);
    Queue state;
    Scratch scratch;
    ScriptedTransport transport(freezes);
    transport.script = {0};
    char* const input = scratch.input().data();
    std::memcpy(input, "abcd", 4);

    state.queue.gather({input, 4}, scratch);
    state.queue.send(transport);
    CHECK(state.queue.blocked());
    std::memcpy(input, "????", 4);
    state.queue.send(transport);

    CHECK(transport.output == "abcd");
  }
}

TEST_CASE("more chunks than one gathering write takes go out in order") {
  Queue state;
  ScriptedTransport transport(false);
  std::string sent;
  for (int i = 0; i < 200; ++i) {
    const std::string piece(70000, static_cast<char>('a' + i % 26));
    state.queue.append(piece);
    sent += piece;
  }

  state.queue.send(transport);

  CHECK(transport.attempts.size() > 1);
  CHECK(transport.output == sent);
  CHECK_FALSE(state.queue.blocked());
}

TEST_CASE("completions come in order, each when its own bytes are taken") {
  Queue state;
  ScriptedTransport transport(false);
  transport.script = {3, 0};
  std::string told;

  state.queue.append("ab");
  state.queue.add_completion([&] { told += '1'; });
  state.queue.append("cd");
  state.queue.add_completion([&] { told += '2'; });
  CHECK_FALSE(state.queue.has_done(false));
  CHECK(state.queue.has_done(true));

  state.queue.send(transport);
  while (state.queue.has_done(false)) {
    state.queue.take_done().callback()();
  }
  CHECK(told == "1");

  state.queue.send(transport);  // blocked
  state.queue.send(transport);
  while (state.queue.has_done(false)) {
    state.queue.take_done().callback()();
  }
  CHECK(told == "12");
}

TEST_CASE("what was reported and not sent can be taken out, without the rest") {
  Queue state;
  ScriptedTransport transport(false);
  transport.script = {1};

  state.queue.append("abc");
  state.queue.add_completion([] {});
  state.queue.append("def");
  state.queue.add_completion([] {});
  REQUIRE(state.queue.has_done(true));
  CHECK(state.queue.take_done().callback());
  state.queue.send(transport);

  CHECK(state.queue.reported_unsent() == 2);
  WriteQueue rest = state.queue.take_reported();
  CHECK(rest.size() == 2);
  rest.send(transport);
  CHECK(transport.output == "abc");
}

TEST_CASE(
    "completions of bytes that were taken outlive the dropping of the "
    "others") {
  Queue state;
  ScriptedTransport transport(false);
  transport.script = {2};
  std::string told;

  state.queue.append("ab");
  state.queue.add_completion([&] { told += '1'; });
  state.queue.append("cd");
  state.queue.add_completion([&] { told += '2'; });
  state.queue.send(transport);
  state.queue.drop_unsent_completions();
  while (state.queue.has_done(true)) {
    state.queue.take_done().callback()();
  }

  CHECK(told == "1");
  CHECK_FALSE(state.queue.has_completions());
}

TEST_SUITE_END();
