// A resolver that knows what it was told, and leaves other names open.

#pragma once

#include <map>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

#include "waterspout/address.h"
#include "waterspout/resolver.h"

namespace waterspout::test {

class FixedResolver final : public Resolver {
 public:
  using Resolver::Resolver;

  /// The addresses' own ports are given.
  void add(const std::string& name, std::vector<Address> addresses) {
    answers_[name] = {std::error_code(), std::move(addresses)};
  }
  void add_failure(const std::string& name, std::error_code error) {
    answers_[name] = {error, {}};
  }

 protected:
  void look_up(Question question) override {
    const auto found = answers_.find(question.host());
    if (found != answers_.end()) {
      question.answer(found->second.error, found->second.addresses);
    } else if (!question.answer_literal()) {
      open_.push_back(std::move(question));
    }
  }

 private:
  struct Answer {
    std::error_code error;
    std::vector<Address> addresses;
  };

  std::map<std::string, Answer> answers_;
  std::vector<Question> open_;
};

}  // namespace waterspout::test
