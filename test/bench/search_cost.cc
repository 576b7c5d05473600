// What it costs to wait for a delimiter that does not come: many bytes without
// it, in pieces of one size. Every byte is to be searched once, so the second
// half of the bytes must cost what the first half does, but for the joining of
// all bytes at the end.
//
//   search_cost                      prints the table, in processor time
//   search_cost SEARCH PIECE BYTES   one run, without a word: check_linear.py
//                                    counts its instructions
//
// SEARCH is until, nearly (every byte could begin the delimiter) or regex.

#include <array>
#include <cerrno>
#include <cstddef>
#include <cstdio>
#include <ctime>
#include <exception>
#include <stdexcept>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>

#include <sys/socket.h>

#include "waterspout/ioloop.h"
#include "waterspout/iostream.h"

#include "base/unique_fd.h"

namespace {

using waterspout::IOLoop;
using waterspout::IOStream;
using waterspout::UniqueFd;

/// What is waited for among bytes of 'a', and what comes at last.
struct Search {
  const char* name;
  bool regex;
  const char* pattern;
  std::string_view end;
};

constexpr Search kSearches[] = {{"until", false, "\r\n", "\r\n"},
                                {"nearly", false, "aaab", "b"},
                                {"regex", true, "\r?\n", "\r\n"}};

const Search& search_named(std::string_view name) {
  for (const Search& search : kSearches) {
    if (search.name == name) {
      return search;
    }
  }
  throw std::invalid_argument("no search is called " + std::string(name));
}

struct Setup {
  std::size_t piece;
  std::size_t bytes;  ///< in all, without the end
};

// A byte at a time is a turn of the loop a byte: fewer of them will do.
constexpr Setup kSetups[] = {{1, std::size_t{256} << 10},
                             {64, std::size_t{4} << 20},
                             {1024, std::size_t{16} << 20},
                             {65536, std::size_t{16} << 20}};

double processor_seconds() {
  timespec time{};
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time);
  return static_cast<double>(time.tv_sec) +
         static_cast<double>(time.tv_nsec) * 1e-9;
}

/// Sends the bytes, one piece in each turn of the loop, and reads them.
class Run {
 public:
  Run(const Search& search, Setup setup)
      : search_(search),
        setup_(setup),
        text_(setup.piece, 'a'),
        left_(setup.bytes) {
    if (setup.piece == 0 || setup.bytes % setup.piece != 0) {
      throw std::invalid_argument("BYTES is not a multiple of PIECE");
    }
  }

  void run() {
    std::array<int, 2> fds{};
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds.data()) != 0) {
      throw std::system_error(errno, std::generic_category(), "socketpair");
    }
    const UniqueFd peer(fds[0]);
    const auto stream = IOStream::create(loop_, fds[1]);
    start_search(*stream);
    loop_.add_handler(peer.get(), IOLoop::WRITE,
                      [this](int fd, IOLoop::Events) { send_piece(fd); });
    begin_ = processor_seconds();
    loop_.start();
    loop_.remove_handler(peer.get());
    end_ = processor_seconds();
    if (got_ != setup_.bytes + search_.end.size()) {
      throw std::runtime_error("the search gave " + std::to_string(got_) +
                               " bytes");
    }
  }

  /// Nanoseconds of processor time for each byte.
  [[nodiscard]] double first_half() const { return each(begin_, middle_); }
  [[nodiscard]] double second_half() const { return each(middle_, end_); }

 private:
  void start_search(IOStream& stream) {
    const auto found = [this](std::string_view line) {
      got_ = line.size();
      loop_.stop();
    };
    if (search_.regex) {
      stream.read_until_regex(search_.pattern, found);
    } else {
      stream.read_until(search_.pattern, found);
    }
  }

  void send_piece(int fd) {
    if (left_ == 0) {
      loop_.update_handler(fd, 0);
      send_all(fd, search_.end);
      return;
    }
    send_all(fd, text_);
    const std::size_t half = setup_.bytes / 2;
    const bool was_before = left_ > half;
    left_ -= text_.size();
    if (was_before && left_ <= half) {
      middle_ = processor_seconds();
    }
  }

  static void send_all(int fd, std::string_view data) {
    const ssize_t sent = send(fd, data.data(), data.size(), MSG_NOSIGNAL);
    if (sent != static_cast<ssize_t>(data.size())) {
      throw std::system_error(errno, std::generic_category(), "send");
    }
  }

  [[nodiscard]] double each(double begin, double end) const {
    return (end - begin) * 1e9 / (static_cast<double>(setup_.bytes) / 2);
  }

  const Search& search_;
  const Setup setup_;
  const std::string text_;
  std::size_t left_;
  std::size_t got_ = 0;
  double begin_ = 0;
  double middle_ = 0;
  double end_ = 0;
  IOLoop loop_;
};

void print_table() {
  std::puts(
      "read_until on bytes without its delimiter: nanoseconds of processor "
      "time for each\nbyte, sending included\n\n"
      "piece (bytes)      bytes  first half  second half");
  for (const Setup& setup : kSetups) {
    Run run(search_named("until"), setup);
    run.run();
    std::printf("%13zu %10zu %11.3f %12.3f\n", setup.piece, setup.bytes,
                run.first_half(), run.second_half());
  }
  std::puts(
      "\nThe ideal: the second half costs what the first does, and once more "
      "for its bytes\nas they are joined into the one piece that is handed "
      "over. What a piece costs\nbesides its bytes is a turn of the loop with "
      "one send and one recv.");
}

}  // namespace

int main(int argc, char** argv) {
  try {
    if (argc == 4) {
      Run(search_named(argv[1]), {std::stoull(argv[2]), std::stoull(argv[3])})
          .run();
    } else if (argc == 1) {
      print_table();
    } else {
      throw std::invalid_argument("give nothing, or SEARCH PIECE BYTES");
    }
    return 0;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "search_cost: %s\n", error.what());
    return 1;
  }
}
