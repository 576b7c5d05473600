#include "loop/agenda.h"

#include <functional>
#include <memory>
#include <string>
#include <utility>

#include <doctest/doctest.h>

namespace {

using waterspout::Agenda;
using waterspout::LoopClient;

// Notes what it is called for, and then does what it was told to.
class Client final : public LoopClient {
 public:
  Client(std::string name, std::string& log)
      : name_(std::move(name)), log_(log) {}

  void run_task() noexcept override {
    log_ += name_ + " runs; ";
    on_task();
  }
  void send_gathered() noexcept override {
    log_ += name_ + " sends; ";
    on_send();
  }
  void loop_closed() noexcept override {}

  using LoopClient::cancel_task;

  std::function<void()> on_task = [] {};
  std::function<void()> on_send = [] {};

 private:
  const std::string name_;
  std::string& log_;
};

struct Office {
  Agenda agenda;
  std::string log;
  Client a{"a", log};
  Client b{"b", log};

  // What one more run comes to.
  std::string run() {
    log.clear();
    agenda.run();
    return log;
  }
};

}  // namespace

TEST_SUITE_BEGIN("agenda");

TEST_CASE("all tasks run before any output is sent, each in order, once") {
  Office t;
  t.agenda.send_at_end(t.b);
  t.agenda.post_task(t.a);
  t.agenda.post_task(t.b);
  t.agenda.post_task(t.a);
  t.agenda.send_at_end(t.b);
  CHECK(t.agenda.waits());
  CHECK(t.run() == "b runs; a runs; b sends; ");
  CHECK_FALSE(t.agenda.waits());
  CHECK(t.run().empty());
}

TEST_CASE("output that a task or a sender gathers is sent in the same run") {
  Office t;
  t.agenda.post_task(t.a);
  t.a.on_task = [&] { t.agenda.send_at_end(t.b); };
  t.b.on_send = [&] { t.agenda.send_at_end(t.a); };
  CHECK(t.run() == "a runs; b sends; a sends; ");
}

TEST_CASE("a task that a task or a sender posts is left to the next run") {
  Office t;
  t.agenda.post_task(t.a);
  t.agenda.send_at_end(t.b);
  t.a.on_task = [&] { t.agenda.post_task(t.a); };
  t.b.on_send = [&] { t.agenda.post_task(t.b); };
  CHECK(t.run() == "a runs; b sends; ");
  CHECK(t.agenda.waits());
  CHECK(t.a.has_task());
  CHECK(t.run() == "a runs; b runs; ");
  CHECK(t.b.has_task() == false);
}

TEST_CASE("output is sent though a task of the same client is left") {
  Office t;
  t.agenda.post_task(t.a);
  t.a.on_task = [&] {
    t.agenda.post_task(t.a);
    t.agenda.send_at_end(t.a);
    t.a.on_task = [] {};
  };
  CHECK(t.run() == "a runs; a sends; ");
  CHECK(t.run() == "a runs; ");
}

TEST_CASE("a task that is taken back does not run, and the output goes out") {
  Office t;
  t.agenda.post_task(t.a);
  t.agenda.post_task(t.b);
  t.agenda.send_at_end(t.b);
  t.a.cancel_task();
  t.b.cancel_task();
  CHECK_FALSE(t.a.has_task());
  CHECK(t.run() == "b sends; ");
  CHECK_FALSE(t.agenda.waits());
}

TEST_CASE("a client that is destroyed is called no more, also by its own run") {
  Office t;
  auto c = std::make_unique<Client>("c", t.log);
  auto d = std::make_unique<Client>("d", t.log);
  t.agenda.post_task(*c);
  t.agenda.send_at_end(*c);
  t.agenda.post_task(*d);
  const auto kept = [&] {
    c.reset();
    d.reset();
  };
  c->on_task = [kept] {
    const auto last = kept;  // outlives the client that holds it
    last();
  };
  CHECK(t.run() == "c runs; ");
  CHECK_FALSE(t.agenda.waits());
}

TEST_SUITE_END();
