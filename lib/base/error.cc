#include "waterspout/error.h"

#include <array>
#include <cstdlib>
#include <exception>
#include <memory>
#include <typeinfo>

#include <cxxabi.h>
#include <netdb.h>

namespace waterspout {
namespace {

class StreamCategory final : public std::error_category {
 public:
  const char* name() const noexcept override { return "waterspout.stream"; }

  std::string message(int value) const override {
    switch (static_cast<StreamErrc>(value)) {
      case StreamErrc::closed:
        return "stream is closed";
      case StreamErrc::unsatisfiable_read:
        return "no match within max_bytes";
      case StreamErrc::read_buffer_full:
        return "reached max_buffer_size";
      case StreamErrc::write_buffer_full:
        return "would pass max_write_buffer_size";
      case StreamErrc::uncaught_exception:
        return "uncaught exception in a callback";
      case StreamErrc::regex_limit:
        return "matching the pattern takes too much work";
      case StreamErrc::loop_closed:
        return "the loop was closed";
    }
    return "unknown stream error " + std::to_string(value);
  }
};

std::string closed_object(std::string_view object, std::error_code cause) {
  std::string text(object);
  if (cause) {
    text += " (" + cause.message() + ")";
  }
  return text;
}

std::string join(std::string_view operation, std::string_view object) {
  std::string text(operation);
  if (!object.empty()) {
    text.append(": ").append(object);
  }
  return text;
}

std::string current_exception_type() {
  const std::type_info* type = abi::__cxa_current_exception_type();
  if (type == nullptr) {
    return "unknown";
  }
  int status = 0;
  const std::unique_ptr<char, void (*)(void*)> name(
      abi::__cxa_demangle(type->name(), nullptr, nullptr, &status), std::free);
  return status == 0 ? name.get() : type->name();
}

// The C escape of one byte; empty where the byte may stand as it is.
class ResolverCategory final : public std::error_category {
 public:
  [[nodiscard]] const char* name() const noexcept override {
    return "waterspout.resolver";
  }
  [[nodiscard]] std::string message(int code) const override {
    return ::gai_strerror(code);
  }
};

std::string escape_byte(unsigned char byte) {
  switch (byte) {
    case '\n':
      return "\\n";
    case '\r':
      return "\\r";
    case '\t':
      return "\\t";
    case '\\':
      return "\\\\";
    default:
      break;
  }
  if (byte >= 0x20 && byte < 0x7f) {
    return {};
  }
  constexpr std::string_view kDigits = "0123456789abcdef";
  return {'\\', 'x', kDigits[byte >> 4U], kDigits[byte & 15U]};
}

}  // namespace

const std::error_category& stream_category() noexcept {
  static const StreamCategory category;
  return category;
}

const std::error_category& resolver_category() noexcept {
  static const ResolverCategory category;
  return category;
}

std::error_code make_error_code(StreamErrc code) noexcept {
  return {static_cast<int>(code), stream_category()};
}

StreamClosedError::StreamClosedError(std::string_view operation,
                                     std::string_view object,
                                     std::error_code cause)
    : std::system_error(StreamErrc::closed,
                        join(operation, closed_object(object, cause))),
      cause_(cause) {}

StreamBufferFullError::StreamBufferFullError(std::string_view operation,
                                             std::string_view object)
    : std::system_error(StreamErrc::write_buffer_full,
                        join(operation, object)) {}

std::string describe_error(std::string_view operation, std::string_view object,
                           std::error_code code) {
  return join(operation, object) + ": " + code.message();
}

std::string describe_exception(const std::exception_ptr& exception) {
  if (!exception) {
    return {};
  }
  try {
    std::rethrow_exception(exception);
  } catch (const std::exception& error) {
    return current_exception_type() + ": " + error.what();
  } catch (...) {
    return "exception of type " + current_exception_type();
  }
}

std::string escape_bytes(std::string_view bytes, std::size_t max_bytes) {
  std::string text;
  for (const char byte : bytes.substr(0, max_bytes)) {
    const std::string escape = escape_byte(static_cast<unsigned char>(byte));
    if (escape.empty()) {
      text += byte;
    } else {
      text += escape;
    }
  }
  if (bytes.size() > max_bytes) {
    text += "...";
  }
  return text;
}

}  // namespace waterspout
