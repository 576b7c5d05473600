#include "measure.h"

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <span>
#include <stdexcept>

namespace micro {
namespace {

class UsageError : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

std::string label(const Work& work) {
  return work.name + ": " + std::string(work.library);
}

std::vector<Work> choose(const std::vector<Work>& works, int argc,
                         char** argv) {
  if (argc > 2) {
    throw UsageError("takes one argument, a part of a work's name");
  }
  if (argc < 2) {
    return works;
  }
  std::vector<Work> chosen;
  std::copy_if(works.begin(), works.end(), std::back_inserter(chosen),
               [part = std::string_view(argv[1])](const Work& work) {
                 return label(work).find(part) != std::string::npos;
               });
  if (chosen.empty()) {
    std::string message = "no such work: " + std::string(argv[1]) + "; one of";
    for (const Work& work : works) {
      message += "\n  " + label(work);
    }
    throw UsageError(message);
  }
  return chosen;
}

// Half of the rounds took longer, half less.
double median(std::vector<double> rounds) {
  std::sort(rounds.begin(), rounds.end());
  const std::size_t half = rounds.size() / 2;
  return rounds.size() % 2 != 0 ? rounds[half]
                                : (rounds[half - 1] + rounds[half]) / 2;
}

void print(const Work& work, const std::vector<double>& rounds, double first) {
  const double each = median(rounds);
  std::printf("%-44s %-20s %11.1f %11.1f", work.name.c_str(),
              std::string(work.library).c_str(), each,
              *std::min_element(rounds.begin(), rounds.end()));
  std::printf(" %7.2f", each / first);
  if (work.bytes != 0) {
    std::printf(" %9.1f", static_cast<double>(work.bytes) / each * 1e3);
  }
  std::printf("\n");
  std::fflush(stdout);
}

// In turns: what disturbs the machine for a while disturbs all of them.
void run_group(std::span<const Work> works) {
  std::vector<std::vector<double>> rounds(works.size());
  for (int round = 0; round < works.front().rounds; ++round) {
    for (std::size_t i = 0; i < works.size(); ++i) {
      rounds[i].push_back(works[i].round());
    }
  }
  for (std::size_t i = 0; i < works.size(); ++i) {
    print(works[i], rounds[i], median(rounds.front()));
  }
}

void run(std::span<const Work> works) {
  std::printf("%-44s %-20s %11s %11s %7s %9s\n", "nanoseconds an operation", "",
              "median", "least", "ratio", "MB/s");
  while (!works.empty()) {
    const auto end = std::find_if(
        works.begin(), works.end(),
        [&](const Work& work) { return work.name != works.front().name; });
    const auto count = static_cast<std::size_t>(end - works.begin());
    run_group(works.first(count));
    works = works.subspan(count);
  }
}

}  // namespace

int run_main(const std::vector<Work>& works, int argc, char** argv) noexcept {
  try {
    run(choose(works, argc, argv));
    return EXIT_SUCCESS;
  } catch (const UsageError& error) {
    std::fprintf(stderr, "%s: %s\n", argv[0], error.what());
    return 2;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "%s: %s\n", argv[0], error.what());
    return EXIT_FAILURE;
  }
}

}  // namespace micro
