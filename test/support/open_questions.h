// A resolver that leaves its questions to the test.

#pragma once

#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "waterspout/resolver.h"

namespace waterspout::test {

class OpenQuestions final : public Resolver {
 public:
  using Resolver::Question;
  using Resolver::Resolver;

  std::vector<Question> questions;
  std::optional<std::string> refusal;
  /// Shared: the base class drops what is pending after this one has gone.
  std::shared_ptr<int> dropped = std::make_shared<int>(0);

 protected:
  void look_up(Question question) override {
    if (refusal) {
      throw std::runtime_error(*refusal);
    }
    question.when_dropped([count = dropped] { ++*count; });
    questions.push_back(std::move(question));
  }
};

}  // namespace waterspout::test
