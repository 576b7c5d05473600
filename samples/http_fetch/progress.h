// How far the bodies are, as a bar on the terminal.

#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>

#include "waterspout/ioloop.h"

#include "http_fetch/console.h"

namespace http_fetch {

/// Bytes of all bodies together.
struct BodyBytes {
  std::uint64_t received = 0;
  std::optional<std::uint64_t> expected = 0;  ///< nothing: nobody knows
};

/// "[#####     ]  50%  32.0 of 64.0 MiB", or what of it is known.
[[nodiscard]] std::string progress_bar(const BodyBytes& bytes);

/// Draws the bar a few times a second once there is a large body.
class Progress {
 public:
  Progress(waterspout::IOLoop& loop, Console& console);

  /// Begins to draw. Without this call nothing is drawn.
  void start() { redraw_.start(); }

  /// Erases the bar.
  void stop();

  /// A body begins, of this length if that is known.
  void expect(std::optional<std::uint64_t> length);

  void receive(std::size_t size) { bytes_.received += size; }

 private:
  void redraw();

  Console& console_;
  BodyBytes bytes_;
  // Calls redraw() on this object, so it goes first.
  waterspout::PeriodicCallback redraw_;
};

}  // namespace http_fetch
