// The main function of every test program: a watchdog, and SIGPIPE as the
// system has it, so that a send without MSG_NOSIGNAL kills the test.

#define DOCTEST_CONFIG_IMPLEMENT

#include <atomic>
#include <csignal>
#include <cstdlib>
#include <cstring>

#include <unistd.h>

#include <doctest/doctest.h>
#include <event2/event.h>

namespace {

// Below the sixty seconds after which Meson kills without saying where.
constexpr unsigned kSeconds = 55;

std::atomic<const char*> running_test = "none";
std::atomic<unsigned> chosen_tests = 0;

void write_text(const char* text) {
  // Nothing can be done about a failure here, so its result is dropped.
  [[maybe_unused]] const auto written =
      write(STDERR_FILENO, text, std::strlen(text));
}

void die_of_alarm(int signum) {
  write_text("\nwatchdog: the time is up in the test case: ");
  write_text(running_test.load());
  write_text("\n");
  std::signal(signum, SIG_DFL);
  std::raise(signum);
}

// Remembers the test case that runs, for the watchdog, and how many there are.
struct RunningTest : doctest::IReporter {
  explicit RunningTest(const doctest::ContextOptions& /*options*/) {}

  void test_case_start(const doctest::TestCaseData& test) override {
    running_test = test.m_name;
  }
  void test_case_reenter(const doctest::TestCaseData& test) override {
    running_test = test.m_name;
  }
  void test_case_end(const doctest::CurrentTestCaseStats& /*stats*/) override {
    running_test = "none";
  }
  void report_query(const doctest::QueryData& /*query*/) override {}
  void test_run_start() override {}
  void test_run_end(const doctest::TestRunStats& stats) override {
    chosen_tests = stats.numTestCasesPassingFilters;
  }
  void test_case_exception(
      const doctest::TestCaseException& /*exception*/) override {}
  void subcase_start(const doctest::SubcaseSignature& /*subcase*/) override {}
  void subcase_end() override {}
  void log_assert(const doctest::AssertData& /*assertion*/) override {}
  void log_message(const doctest::MessageData& /*message*/) override {}
  void test_case_skipped(const doctest::TestCaseData& /*test*/) override {}
};

// Slow lanes (valgrind) say how much longer the watchdog shall wait.
unsigned watchdog_seconds() {
  const char* seconds = std::getenv("WATERSPOUT_TEST_SECONDS");
  return seconds == nullptr
             ? kSeconds
             : static_cast<unsigned>(std::strtoul(seconds, nullptr, 10));
}

}  // namespace

REGISTER_LISTENER("running_test", 1, RunningTest);

int main(int argc, char** argv) {
  std::signal(SIGPIPE, SIG_DFL);
  std::signal(SIGALRM, die_of_alarm);
  alarm(watchdog_seconds());
  if (std::getenv("WATERSPOUT_EVENT_DEBUG") != nullptr) {
    event_enable_debug_mode();
  }
  doctest::Context context(argc, argv);
  const int status = context.run();
  if (argc > 1 && chosen_tests == 0 && !context.shouldExit()) {
    write_text("the arguments leave no test case to run\n");
    return EXIT_FAILURE;
  }
  return status;
}
