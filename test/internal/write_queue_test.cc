#include "stream/write_queue.h"

#include <algorithm>
#include <cstring>
#include <deque>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <doctest/doctest.h>

namespace {

using waterspout::Address;
using waterspout::Callback;
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
  void append(std::string_view data) { queue.append(data, pools); }
  void gather(std::string_view data) { queue.gather(data, pools); }
  Transfer send(Transport& transport, std::string_view data = {}) {
    return queue.send(transport, pools, data);
  }
  void add_completion(Callback<void()> callback) {
    queue.add_completion(std::move(callback), pools);
  }

  StreamPools pools;
  WriteQueue queue;
};

}  // namespace

TEST_SUITE_BEGIN("write_queue");

TEST_CASE(
    "a frozen write is presented again with the same bytes, address and "
    "length, whatever was appended in between") {
  Queue state;
  ScriptedTransport transport(true);
  transport.script = {0, 0, 4};

  state.append("abcd");
  state.send(transport);
  CHECK(state.queue.blocked());
  state.append("efgh");
  state.append(std::string(100000, 'x'));
  state.send(transport);
  state.send(transport);

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
    state.append(piece);
    sent += piece;
  }

  state.send(transport);
  state.append("tail");
  state.send(transport);

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

  state.append("abcd");
  state.send(transport);
  state.append("efgh");
  state.send(transport);

  REQUIRE(transport.attempts.size() == 2);
  CHECK(transport.attempts[1].bytes == "abcdefgh");
}

TEST_CASE(
    "data that was not queued goes out behind the queue, and the rest of "
    "it is queued") {
  Queue state;
  ScriptedTransport transport(false);
  transport.script = {6};

  state.append("abcd");
  const Transfer sent = state.send(transport, "efgh");

  CHECK(transport.output == "abcdef");
  CHECK(sent.outcome == Transfer::Outcome::would_block);
  CHECK(state.queue.size() == 2);
  CHECK(state.queue.blocked());
  state.send(transport);
  CHECK(transport.output == "abcdefgh");
}

TEST_CASE("gathered bytes go out between the queue and the data, in order") {
  Queue state;
  ScriptedTransport transport(false);
  transport.script = {5, 3};

  state.append("abc");
  state.gather("de");
  state.gather("fg");
  state.send(transport, "hij");
  CHECK(state.queue.size() == 5);
  std::fill(state.pools.scratch.output().begin(),
            state.pools.scratch.output().end(), '?');
  while (state.queue.blocked()) {
    state.send(transport);
  }

  CHECK(transport.output == "abcdefghij");
  CHECK(state.queue.size() == 0);
}

TEST_CASE("what is queued behind gathered bytes goes out behind them") {
  Queue state;
  ScriptedTransport transport(false);

  state.gather("ab");
  state.append("cd");
  CHECK(state.queue.size() == 4);
  state.send(transport);

  CHECK(transport.output == "abcd");
}

TEST_CASE(
    "gathered bytes that follow each other in the input are sent from there, "
    "others from a copy") {
  Queue state;
  ScriptedTransport transport(false);
  char* const input = state.pools.scratch.input().data();
  std::memcpy(input, "one two three", 13);

  state.gather({input, 4});
  state.gather({input + 4, 4});
  state.send(transport);
  CHECK(transport.attempts.back() ==
        ScriptedTransport::Attempt{input, "one two "});

  state.gather({input, 4});
  state.gather({input + 8, 5});
  state.send(transport);
  CHECK(transport.attempts.back().bytes == "one three");
  CHECK(transport.attempts.back().address ==
        state.pools.scratch.output().data());
}

TEST_CASE("gathered bytes that are not taken outlive the scratch memory") {
  for (const bool freezes : {false, true}) {
    CAPTURE(freezes);
    Queue state;
    ScriptedTransport transport(freezes);
    transport.script = {0};
    char* const input = state.pools.scratch.input().data();
    std::memcpy(input, "abcd", 4);

    state.gather({input, 4});
    state.send(transport);
    CHECK(state.queue.blocked());
    std::memcpy(input, "????", 4);
    state.send(transport);

    CHECK(transport.output == "abcd");
  }
}

TEST_CASE("more chunks than one gathering write takes go out in order") {
  Queue state;
  ScriptedTransport transport(false);
  std::string sent;
  for (int i = 0; i < 200; ++i) {
    const std::string piece(70000, static_cast<char>('a' + i % 26));
    state.append(piece);
    sent += piece;
  }

  state.send(transport);

  CHECK(transport.attempts.size() > 1);
  CHECK(transport.output == sent);
  CHECK_FALSE(state.queue.blocked());
}

TEST_CASE("completions come in order, each when its own bytes are taken") {
  Queue state;
  ScriptedTransport transport(false);
  transport.script = {3, 0};
  std::string told;

  state.append("ab");
  state.add_completion([&] { told += '1'; });
  state.append("cd");
  state.add_completion([&] { told += '2'; });
  CHECK_FALSE(state.queue.has_done(false));
  CHECK(state.queue.has_done(true));

  state.send(transport);
  while (state.queue.has_done(false)) {
    state.queue.take_done().callback()();
  }
  CHECK(told == "1");

  state.send(transport);  // blocked
  state.send(transport);
  while (state.queue.has_done(false)) {
    state.queue.take_done().callback()();
  }
  CHECK(told == "12");
}

TEST_CASE("what was reported and not sent can be taken out, without the rest") {
  Queue state;
  ScriptedTransport transport(false);
  transport.script = {1};

  state.append("abc");
  state.add_completion([] {});
  state.append("def");
  state.add_completion([] {});
  REQUIRE(state.queue.has_done(true));
  CHECK(state.queue.take_done().callback());
  state.send(transport);

  CHECK(state.queue.reported_unsent() == 2);
  WriteQueue rest = state.queue.take_reported();
  CHECK(rest.size() == 2);
  rest.send(transport, state.pools);
  CHECK(transport.output == "abc");
}

TEST_CASE(
    "completions of bytes that were taken outlive the dropping of the "
    "others") {
  Queue state;
  ScriptedTransport transport(false);
  transport.script = {2};
  std::string told;

  state.append("ab");
  state.add_completion([&] { told += '1'; });
  state.append("cd");
  state.add_completion([&] { told += '2'; });
  state.send(transport);
  state.queue.drop_unsent_completions();
  while (state.queue.has_done(true)) {
    state.queue.take_done().callback()();
  }

  CHECK(told == "1");
  CHECK_FALSE(state.queue.has_completions());
}

TEST_SUITE_END();
