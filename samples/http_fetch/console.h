// Standard error: lines, and on a terminal a progress bar below them.

#pragma once

#include <string>
#include <string_view>

namespace http_fetch {

class Console {
 public:
  /// Writes a line. `text` has no control characters.
  void line(std::string_view text);

  /// Shows `bar`, in the place of the one before; an empty one shows none.
  void show_bar(std::string_view bar);

 private:
  std::string bar_;  // what stands in the last line now
};

}  // namespace http_fetch
